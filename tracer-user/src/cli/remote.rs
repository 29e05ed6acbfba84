//! What can be typed of another gotrace that is asked over HTTP.

use std::path::PathBuf;

use clap::Args;

use super::serve::TOKEN_FILE_VARIABLE;

/// How another gotrace is asked.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct RemoteArgs {
    /// Of another gotrace: the file with the token that it asks for
    #[arg(
        long,
        value_name = "FILE",
        env = TOKEN_FILE_VARIABLE,
        hide_env_values = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Of another gotrace: the certificates (PEM) that its own must be signed by, in place of the public ones
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
}
