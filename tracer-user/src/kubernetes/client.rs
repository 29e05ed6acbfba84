//! Requests to the Kubernetes API, and to agents: HTTP/1.1, one connection a request, which ends with its answer.
//!
//! The token and the certificates are read anew for each connection: a service account's token is replaced about
//! once an hour, and the authority's certificates now and then.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use axum::http::{Method, Request, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::config::Api;
use super::object::Status;
use crate::text::safe;

/// How long a connection may take,
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// an answer, until it begins,
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// and all of one that is not a stream.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A connection on which nothing comes is asked for a sign of life so often, so many times.
const PROBE_TIME: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
/// Bytes of an answer at most: etcd takes no object beyond 1.5 MB, and a page has at most 100 pods.
const MOST_BODY: usize = 64 << 20;
/// Bytes of a line of a stream at most.
const MOST_LINE: usize = 8 << 20;
/// Bytes of a file with a token at most.
const MOST_TOKEN: u64 = 64 << 10;
/// Characters that are told of what a server says.
const MOST_MESSAGE: usize = 300;
/// Nobody may be told to wait longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why there is no answer, or not a good one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file or what is in it.
    #[error("{0}")]
    Setting(String),
    /// The connection was not made, or broke.
    #[error("no connection: {0}")]
    Connection(String),
    #[error("no answer in {} s", .0.as_secs())]
    Silent(Duration),
    #[error("status {code}: {message}")]
    Refused {
        code: u16,
        message: String,
        /// When to ask again, if it says so.
        retry_after: Option<Duration>,
    },
    #[error("the answer is not understood: {0}")]
    Malformed(String),
    /// What came cannot be kept.
    #[error("it cannot be written: {0}")]
    Unkept(std::io::Error),
}

impl Error {
    /// An object in place of what was asked for.
    pub(super) fn refused(status: Status, code: u16) -> Error {
        let message = status.message.unwrap_or_default();
        Error::Refused {
            code: status.code.unwrap_or(code),
            message: brief(&message),
            retry_after: None,
        }
    }

    /// How the server refused.
    pub(super) const fn code(&self) -> Option<u16> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// When to ask again, if the server says so.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn brief(message: &str) -> String {
    let message: String = message.chars().take(MOST_MESSAGE).collect();
    safe(message.trim()).into_owned()
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Connection(error.to_string())
}

/// Asks one server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    api: Api,
    connect_time: Duration,
    answer_time: Duration,
    body_time: Duration,
}

impl Client {
    pub(super) const fn new(api: Api) -> Client {
        Client {
            api,
            connect_time: CONNECT_TIME,
            answer_time: ANSWER_TIME,
            body_time: BODY_TIME,
        }
    }

    /// One that waits so long for an answer to begin, and as long for the rest of it.
    pub(super) fn patient(api: Api, patience: Duration) -> Client {
        Client {
            connect_time: CONNECT_TIME.min(patience),
            answer_time: patience,
            body_time: patience,
            ..Client::new(api)
        }
    }

    /// Asks, and waits until the answer begins. One that is a refusal is an error.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Error> {
        let token = self.api.token_file.as_deref().map(token).transpose()?;
        let mut request = Request::builder()
            .method(question.method)
            .uri(format!("{}{}", self.api.path, question.path))
            .header(HOST, self.api.authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("gotrace/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(kind) = question.content {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request
            .body(Full::new(question.body))
            .map_err(|error| Error::Setting(format!("no request can be made: {error}")))?;

        let stream = timeout(self.connect_time, self.connect());
        let stream = stream
            .await
            .map_err(|_| Error::Silent(self.connect_time))??;
        let handshake = http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        let connection = Connection(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        }));
        let answer = timeout(self.answer_time, sender.send_request(request));
        let answer = answer
            .await
            .map_err(|_| Error::Silent(self.answer_time))?
            .map_err(broken)?;
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|seconds| seconds.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
        let answer = Answer {
            body: answer.into_body(),
            kept: BytesMut::new(),
            searched: 0,
            time: self.body_time,
            _connection: connection,
        };
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.all().await.unwrap_or_default();
        let said: Status = serde_json::from_slice(&body).unwrap_or_else(|_| Status {
            // Somebody on the way, who speaks another language.
            message: Some(String::from_utf8_lossy(&body).into_owned()),
            code: None,
        });
        let code = status.as_u16();
        let message = brief(&said.message.unwrap_or_default());
        let message = match status {
            StatusCode::UNAUTHORIZED => format!("it does not take the token: {message}"),
            _ => message,
        };
        Err(Error::Refused {
            code,
            message,
            retry_after,
        })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let stream = TcpStream::connect((&*self.api.host, self.api.port))
            .await
            .map_err(|error| broken(format_args!("{}: {error}", self.api.authority)))?;
        stream.set_nodelay(true).map_err(broken)?;
        // A watch is silent most of the time: whether the other side is still there only this tells.
        let keepalive = TcpKeepalive::new()
            .with_time(PROBE_TIME)
            .with_interval(PROBE_TIME)
            .with_retries(PROBES);
        SockRef::from(&stream)
            .set_tcp_keepalive(&keepalive)
            .map_err(broken)?;
        let Some(ca) = &self.api.ca else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.api.name.clone());
        let name = name.map_err(|error| Error::Setting(format!("{}: {error}", self.api.name)))?;
        let connector = TlsConnector::from(Arc::new(trusting(ca)?));
        let stream = connector.connect(name, stream).await;
        let stream =
            stream.map_err(|error| broken(format_args!("{}: {error}", self.api.authority)))?;
        Ok(Box::new(stream))
    }
}

/// What a connection is, with TLS and without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    method: Method,
    path: &'a str,
    content: Option<&'static str>,
    body: Bytes,
}

impl<'a> Question<'a> {
    /// What is at `path`, its query included.
    pub(super) const fn get(path: &'a str) -> Question<'a> {
        Question {
            method: Method::GET,
            path,
            content: None,
            body: Bytes::new(),
        }
    }

    /// To make an object.
    pub(super) fn create(path: &'a str, object: &serde_json::Value) -> Question<'a> {
        Question {
            method: Method::POST,
            path,
            content: Some("application/json"),
            body: object.to_string().into(),
        }
    }

    /// To change fields of one.
    pub(super) fn patch(path: &'a str, fields: &serde_json::Value) -> Question<'a> {
        Question {
            method: Method::PATCH,
            path,
            content: Some("application/merge-patch+json"),
            body: fields.to_string().into(),
        }
    }
}

/// Ends with the value.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose head has come.
#[derive(Debug)]
pub(super) struct Answer {
    body: Incoming,
    /// Of a stream: what has come and was not handed out.
    kept: BytesMut,
    /// How much of that has no end of a line in it.
    searched: usize,
    /// How long all of one that is not a stream may take.
    time: Duration,
    _connection: Connection,
}

impl Answer {
    /// All of it, as an object.
    ///
    /// # Errors
    /// It does not all come, or is no such object.
    pub(super) async fn object<T: DeserializeOwned>(self) -> Result<T, Error> {
        let body = self.all().await?;
        serde_json::from_slice(&body).map_err(|error| Error::Malformed(error.to_string()))
    }

    async fn all(mut self) -> Result<BytesMut, Error> {
        let time = self.time;
        let all = async {
            while self.more().await? {
                if self.kept.len() > MOST_BODY {
                    let cause = format!("it has more than {MOST_BODY} bytes");
                    return Err(Error::Malformed(cause));
                }
            }
            Ok(())
        };
        timeout(time, all)
            .await
            .map_err(|_| Error::Silent(time))??;
        Ok(self.kept)
    }

    /// Writes all of it into a file as it comes; how many bytes that were.
    ///
    /// # Errors
    /// It does not all come, is longer than `most` bytes, or cannot be written.
    pub(super) async fn save(mut self, file: &mut File, most: u64) -> Result<u64, Error> {
        let time = self.time;
        let all = async move {
            let mut bytes = 0;
            while self.more().await? {
                bytes += self.kept.len() as u64;
                if bytes > most {
                    let cause = format!("it has more than {most} bytes");
                    return Err(Error::Malformed(cause));
                }
                file.write_all(&self.kept).map_err(Error::Unkept)?;
                self.kept.clear();
            }
            Ok(bytes)
        };
        timeout(time, all).await.map_err(|_| Error::Silent(time))?
    }

    /// The next line of a stream; `None` at its end. Nothing is lost if the caller stops waiting.
    ///
    /// # Errors
    /// The connection breaks, or the line has no end.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let new = &self.kept[self.searched..];
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                let line = self.kept.split_to(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.kept.len();
            if self.searched > MOST_LINE {
                let cause = format!("a line has more than {MOST_LINE} bytes");
                return Err(Error::Malformed(cause));
            }
            if !self.more().await? {
                return match self.kept.is_empty() {
                    true => Ok(None),
                    false => Err(broken("it broke off within a line")),
                };
            }
        }
    }

    /// Waits for more; whether there was some.
    async fn more(&mut self) -> Result<bool, Error> {
        match self.body.frame().await {
            None => Ok(false),
            Some(Err(error)) => Err(broken(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.kept.extend_from_slice(&data);
                }
                Ok(true)
            }
        }
    }
}

/// The token in a file.
fn token(file: &Path) -> Result<String, Error> {
    let failed = |cause: &dyn std::fmt::Display| {
        Error::Setting(format!("no token in {}: {cause}", file.display()))
    };
    let length = std::fs::metadata(file)
        .map_err(|error| failed(&error))?
        .len();
    if length > MOST_TOKEN {
        return Err(failed(&"the file is too large"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed(&"it is not one word"));
    }
    Ok(token.to_owned())
}

/// Takes servers whose certificates were signed by one in this file.
fn trusting(ca: &Path) -> Result<ClientConfig, Error> {
    let failed = |cause: &dyn std::fmt::Display| {
        Error::Setting(format!("no certificates in {}: {cause}", ca.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"there is none"));
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
