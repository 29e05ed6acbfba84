//! What can be typed of the HTTP server: where it listens, and who may ask.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// The server of a trace.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct ServeArgs {
    /// Where to serve the page, /metrics, /healthz and /api/v1, or `off`; an address that others can reach needs
    /// --token-file, --tls-cert and --tls-key
    /// [default: 127.0.0.1:9477, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<Listen>,
    /// Answer only to who sends the token in this file (`Authorization: Bearer TOKEN`)
    #[arg(
        long,
        value_name = "FILE",
        env = TOKEN_FILE_VARIABLE,
        hide_env_values = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Serve HTTPS alone, with this certificate (PEM, with the chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Another name by which this server may be asked for; on 127.0.0.1 only that address and localhost
    /// are, so that no web page can (more than once for several)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Listen where others can reach it without a token or without TLS
    #[arg(long)]
    pub(crate) insecure_listen: bool,
    /// How many buffered values the API shows of each channel, as sizes alone
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) values: usize,
    /// Let the API show the values themselves to whoever can reach it: they can be secrets
    #[arg(long, requires = "values")]
    pub(crate) expose_values: bool,
}

impl ServeArgs {
    /// No server.
    pub(crate) const fn off() -> ServeArgs {
        ServeArgs {
            listen: Some(Listen::Off),
            token_file: None,
            tls_cert: None,
            tls_key: None,
            allow_host: Vec::new(),
            insecure_listen: false,
            values: 0,
            expose_values: false,
        }
    }
}

/// The variable that names the token's file where no flag does.
pub(crate) const TOKEN_FILE_VARIABLE: &str = "GOTRACE_TOKEN_FILE";

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Off,
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        text.parse().map(Listen::At).map_err(|_| {
            "expected an address and a port, such as 127.0.0.1:9477, or `off`".to_owned()
        })
    }
}
