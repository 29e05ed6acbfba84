//! Asking over HTTP, one connection a question.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::patience;

/// More than this is no answer that a test waits for, bytes.
const MOST: u64 = 256 << 20;

/// Status and body of the answer to a GET request.
///
/// # Panics
///
/// When nobody answers.
#[track_caller]
pub fn get(url: &str) -> (u16, String) {
    try_get(url, patience()).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The bytes of the answer to a GET request.
///
/// # Panics
///
/// When nobody answers, or not all of it comes.
#[track_caller]
pub fn bytes(url: &str) -> Vec<u8> {
    let answer = ureq::get(url).header("Connection", "close").call();
    let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    let body = answer.body_mut().with_config().limit(MOST);
    body.read_to_vec()
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// As [`get`], for a server that may not be there yet.
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

/// A question to a server that is asked from elsewhere: by TLS, with headers.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// A certificate (PEM) that the server's must be signed by.
    pub trusted: Option<String>,
}

impl Question {
    /// One that carries a token.
    pub fn with_token(token: &str) -> Question {
        let header = ("Authorization".to_owned(), format!("Bearer {token}"));
        Question {
            headers: vec![header],
            trusted: None,
        }
    }

    /// Status and body of the answer to a GET request.
    ///
    /// # Errors
    ///
    /// What the connection said.
    ///
    /// # Panics
    ///
    /// When the certificate is none.
    pub fn get(&self, url: &str) -> Result<(u16, String), ureq::Error> {
        let roots = self.trusted.as_ref().map(|pem| {
            let certificate = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
            RootCerts::new_with_certs(&[certificate])
        });
        let mut tls = TlsConfig::builder();
        if let Some(roots) = roots {
            tls = tls.root_certs(roots);
        }
        let mut request = ureq::get(url).header("Connection", "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut answer = request
            .config()
            .http_status_as_error(false)
            .timeout_global(Some(patience()))
            .tls_config(tls.build())
            .build()
            .call()?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST);
        Ok((status, body.read_to_string()?))
    }
}

/// All that a server says to these bytes until it ends the connection; what it said until then, if it
/// breaks it off.
///
/// # Panics
///
/// When it does not end it for a long time.
#[track_caller]
pub fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    // What is not read any more may be refused; the answer is what counts.
    let _ = stream.write_all(bytes);
    hear(&mut stream)
}

/// What comes until the other side ends the connection.
///
/// # Panics
///
/// When it does not for a long time.
#[track_caller]
pub fn hear(stream: &mut TcpStream) -> String {
    stream
        .set_read_timeout(Some(2 * patience()))
        .expect("a socket has a timeout");
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&heard).into_owned()
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
        .timeout_global(Some(patience()))
        .build()
        .call();
    answer
        .and_then(|mut answer| answer.body_mut().with_config().limit(MOST).read_to_string())
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}
