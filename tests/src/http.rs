//! Asking over HTTP, one connection a question.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::PATIENCE;

/// More than this is no answer that a test waits for, bytes.
const MOST: u64 = 256 << 20;

/// Status and body of the answer to a GET request.
///
/// # Panics
///
/// When nobody answers.
#[track_caller]
pub fn get(url: &str) -> (u16, String) {
    try_get(url, PATIENCE).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The same, for a server that may not be there yet.
///
/// # Errors
///
/// What the connection said.
pub fn try_get(url: &str, patience: Duration) -> Result<(u16, String), ureq::Error> {
    let mut answer = ureq::get(url)
        .header("Connection", "close")
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .build()
        .call()?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MOST);
    Ok((status, body.read_to_string()?))
}

/// An address of this machine on which nobody listens.
#[track_caller]
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("there is a free port")
}

/// The answer to a GET request with parameters, whatever its status.
///
/// # Panics
///
/// When nobody answers.
#[track_caller]
pub fn ask(url: &str, parameters: &[(&str, &str)]) -> String {
    let request = ureq::get(url).query_pairs(parameters.iter().copied());
    let answer = request
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .call();
    answer
        .and_then(|mut answer| answer.body_mut().with_config().limit(MOST).read_to_string())
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}
