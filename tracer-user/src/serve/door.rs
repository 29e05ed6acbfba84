//! What must be there before anybody may come in: an address to listen on, and where others can reach
//! that, a token and TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::access::{Access, Hosts};
use super::token::Token;
use crate::cli::{Listen, ServeArgs};
use crate::failure::Failure;

/// Where a trace is served if nobody says.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9477);

/// A listener, and who may come in.
pub(crate) struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) access: Access,
}

impl Door {
    /// Binds the address, before anything is attached, so that a taken one changes nothing. `None` if
    /// nothing is to be served.
    ///
    /// # Errors
    /// The address cannot be had, a file is not what it should be, or others could reach the address and
    /// there is no token or no TLS.
    pub(crate) fn open(args: &ServeArgs) -> Result<Option<Door>, Failure> {
        let listen = match args.listen {
            Some(Listen::Off) => return Ok(None),
            Some(Listen::At(address)) => Some(address),
            None => None,
        };
        if let Some(address) = listen
            && !address.ip().is_loopback()
            && !args.insecure_listen
        {
            let missing = match (&args.token_file, &args.tls_cert) {
                (Some(_), Some(_)) => None,
                (Some(_), None) => {
                    Some("without TLS, whoever is on the way reads all, the token too")
                }
                (None, Some(_)) => Some("without a token, anybody may ask"),
                (None, None) => Some("others can reach it, and there is neither a token nor TLS"),
            };
            if let Some(cause) = missing {
                return Err(Failure::new(format!("refused to listen on {address}"))
                    .because(cause)
                    .next(
                        "give --token-file FILE, --tls-cert FILE and --tls-key FILE, or \
                         --insecure-listen if something else keeps others away",
                    ));
            }
        }
        let token = args.token_file.as_deref().map(Token::read).transpose()?;
        let tls = match (&args.tls_cert, &args.tls_key) {
            (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
            _ => None,
        };
        let listener = bind(listen)?;
        let local = listener
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback());
        // Whoever can send a token is no web page that guesses; where there is none, names are all that
        // tells a page from a person.
        let hosts = (local || !args.allow_host.is_empty()).then(|| Hosts::new(&args.allow_host));
        Ok(Some(Door {
            listener,
            tls,
            access: Access { token, hosts },
        }))
    }

    /// The address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Whether this machine alone can reach it.
    pub(super) fn is_local(&self) -> std::io::Result<bool> {
        Ok(self.listener.local_addr()?.ip().is_loopback())
    }

    /// Whether it speaks HTTPS alone.
    pub(crate) const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }
}

fn bind(listen: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    let bind = |address: SocketAddr| {
        TcpListener::bind(address).map_err(|error| {
            Failure::new(format!("cannot listen on {address}"))
                .because(&error)
                .next("give another address with --listen (port 0 takes a free one), or `--listen off`")
        })
    };
    match (listen, TcpListener::bind(listen.unwrap_or(DEFAULT_LISTEN))) {
        (_, Ok(listener)) => Ok(listener),
        // Another gotrace has it, most likely: nobody asked for this very port.
        (None, Err(error)) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bind(SocketAddr::new(DEFAULT_LISTEN.ip(), 0))
        }
        (listen, Err(_)) => bind(listen.unwrap_or(DEFAULT_LISTEN)),
    }
}

/// What takes TLS connections with this certificate.
fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Failure> {
    let failed = |file: &Path, what: &str| {
        Failure::new(format!("cannot read {what} from {}", file.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            failed(certificate, "a certificate")
                .because(error)
                .next("give a PEM file with --tls-cert, the server's certificate first")
        })?;
    if chain.is_empty() {
        return Err(failed(certificate, "a certificate")
            .because("there is none in it")
            .next("give a PEM file with --tls-cert, the server's certificate first"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        failed(key, "a private key")
            .because(error)
            .next("give a PEM file with --tls-key, its key not encrypted")
    })?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            Failure::new(format!(
                "cannot use the certificate {}",
                certificate.display()
            ))
            .because(error)
            .next("give the key of that very certificate with --tls-key")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
