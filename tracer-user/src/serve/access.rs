//! Who may ask what: by the name under which the server is asked, by a token, and by the size of what is
//! asked.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::page;
use super::problem::Problem;
use super::token::Token;

/// Bytes of a request's target at most: many filters fit into it.
pub(super) const MOST_URI: usize = 4 << 10;
/// Bytes of a request's body at most. No question of this API needs more.
pub(super) const MOST_BODY: usize = 4 << 10;
/// What is answered without a token: whether a server is there is no secret.
pub(super) const OPEN: &str = "/healthz";

/// Whether a path needs no token. The files of the page are the same everywhere and hold no data.
fn is_open(path: &str) -> bool {
    path == OPEN || page::has(path)
}

/// What a caller must show.
pub(super) struct Access {
    pub(super) token: Option<Token>,
    /// Under which names the server may be asked; `None`: under any.
    pub(super) hosts: Option<Hosts>,
}

/// Names of the server. A page of the web that makes its own name lead here (DNS rebinding) sends that
/// name, since a browser lets no page choose another one.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// This machine, and the given names.
    pub(super) fn new(names: &[String]) -> Hosts {
        Hosts(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a `Host` header names this server. Its port does not matter: a page cannot choose that
    /// either without the name.
    fn has(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']').parse();
        name == "localhost"
            || address.is_ok_and(|address: IpAddr| address.is_loopback())
            || self.0.iter().any(|known| known == name)
    }
}

impl Access {
    /// Whether a request may be answered; the answer to one that may not.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let text = |name| {
            let value = request.headers().get(name)?;
            value.to_str().ok()
        };
        if let Some(hosts) = &self.hosts {
            let mut given = request.headers().get_all(header::HOST).iter();
            let (first, second) = (given.next(), given.next());
            let host = first.and_then(|host| host.to_str().ok());
            if second.is_some() || !host.is_some_and(|host| hosts.has(host)) {
                return Err(Problem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "this server is not known by the name in the Host header",
                )
                .next("ask for 127.0.0.1 or localhost, or start gotrace with --allow-host NAME"));
            }
        }
        if let Some(token) = &self.token
            && !is_open(request.uri().path())
        {
            let bearer = text(header::AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme
                    .eq_ignore_ascii_case("bearer")
                    .then_some(token.trim())
            });
            match bearer {
                None => return Err(Problem::unauthorized("there is no token")),
                Some(given) if !token.is(given.as_bytes()) => {
                    return Err(Problem::unauthorized("the token is wrong"));
                }
                Some(_) => {}
            }
        }
        let target = request.uri().path_and_query();
        if target.is_some_and(|target| target.as_str().len() > MOST_URI) {
            return Err(Problem::new(
                StatusCode::URI_TOO_LONG,
                format!("the path and its query are longer than {MOST_URI} bytes"),
            ));
        }
        let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > MOST_BODY as u64) {
            return Err(Problem::too_large());
        }
        Ok(())
    }
}

/// Lets a request in, or answers it here.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let mut answer = match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    // Nobody keeps a copy of what may be secret, and no browser takes it for what it is not.
    let headers = answer.headers_mut();
    let caching = headers.entry(header::CACHE_CONTROL);
    caching.or_insert(header::HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn only_names_of_this_machine_and_those_allowed() {
        let hosts = Hosts::new(&["Trace.Example".to_owned()]);
        for (host, ok) in [
            ("localhost", true),
            ("LOCALHOST:9477", true),
            ("localhost.:9477", true),
            ("127.0.0.1:9477", true),
            ("127.8.0.1", true),
            ("[::1]:9477", true),
            ("trace.example:80", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("10.0.0.1:9477", false),
            ("0.0.0.0:9477", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(hosts.has(host), ok, "{host}");
        }
    }
}
