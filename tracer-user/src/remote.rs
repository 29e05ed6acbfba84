//! Another gotrace, asked over HTTP for what it sees where it runs.

use std::io::{Read as _, copy};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;
use ureq::http::{StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::cli::RemoteArgs;
use crate::failure::Failure;
use crate::serve::Token;

/// How long a connection may take,
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// the read of a large heap, until the answer begins,
const READ_TIME: Duration = Duration::from_secs(120);
/// and all of it.
const WHOLE_TIME: Duration = Duration::from_secs(300);
/// A larger snapshot is none, bytes.
const MOST: u64 = 4 << 30;
/// Bytes of a message that says why there is none.
const MOST_MESSAGE: u64 = 4 << 10;

/// Whether a name is that of another gotrace.
pub(crate) fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Lets the gotrace at `url` take a snapshot, and puts it into a file that is deleted with the value.
///
/// # Errors
/// It does not answer, refuses, or its answer breaks off; the URL is named.
pub(crate) fn snapshot(url: &str, args: &RemoteArgs) -> Result<NamedTempFile, Failure> {
    let wrong = |cause: &str| {
        Failure::new(format!("`{url}` is not the address of a gotrace"))
            .because(cause)
            .next("give one such as http://127.0.0.1:9477")
    };
    let address = snapshot_address(url);
    let uri: Uri = address.parse().map_err(|_| wrong("it is no URL"))?;
    let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
    if uri.query().is_some() {
        return Err(wrong("there is a question mark in it"));
    }
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    if token.is_some() && uri.scheme_str() == Some("http") && !is_here(host) {
        tracing::warn!("the token goes to {host} in the clear: use https");
    }
    let mut tls = TlsConfig::builder();
    if let Some(file) = &args.tls_ca {
        tls = tls.root_certs(RootCerts::from(certificates(file)?));
    }
    let mut request = ureq::get(&address);
    if let Some(token) = &token {
        request = request.header("Authorization", token.authorization());
    }
    let silent = |error: ureq::Error| {
        Failure::new(format!("{url} did not answer"))
            .because(error)
            .next(format!(
                "check that `gotrace run` listens there: curl {}/healthz",
                url.trim_end_matches('/')
            ))
    };
    let mut answer = request
        .config()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_TIME))
        .timeout_recv_response(Some(READ_TIME))
        .timeout_global(Some(WHOLE_TIME))
        .tls_config(tls.build())
        .build()
        .call()
        .map_err(silent)?;
    let status = answer.status();
    if status != StatusCode::OK {
        let body = answer.body_mut().with_config().limit(MOST_MESSAGE);
        return Err(refused(
            url,
            status,
            &body.read_to_string().unwrap_or_default(),
        ));
    }
    let broken = |error: std::io::Error| {
        Failure::new(format!("{url} did not send all of its snapshot"))
            .because(error)
            .next("try again, or copy a file that `gotrace snapshot` makes there")
    };
    let mut file = NamedTempFile::with_prefix("gotrace-").map_err(broken)?;
    let mut body = answer.body_mut().as_reader().take(MOST);
    copy(&mut body, &mut file).map_err(broken)?;
    Ok(file)
}

/// Where to ask for a snapshot: of what a gotrace traces, or of one of the processes that an agent follows.
fn snapshot_address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.rsplit_once("/api/v1/processes/") {
        Some((_, pid)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{url}/snapshot")
        }
        _ => format!("{url}/api/v1/snapshot"),
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The certificates in a file.
fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let failed = || Failure::new(format!("cannot read certificates from {}", file.display()));
    let next = "give a PEM file with --tls-ca";
    let text = std::fs::read(file).map_err(|error| failed().because(error).next(next))?;
    let found: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match found.is_empty() {
        true => Err(failed().because("there is none in it").next(next)),
        false => Ok(found),
    }
}

/// What an answer that is no snapshot means.
fn refused(url: &str, status: StatusCode, body: &str) -> Failure {
    let said: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = |field: &str| said.as_ref()?.get(field)?.as_str();
    let failure = Failure::new(format!("{url} gives no snapshot"));
    let cause = said("error").unwrap_or("it is not a gotrace, or an old one");
    let failure = failure.because(format!("{cause} (status {})", status.as_u16()));
    match status {
        StatusCode::UNAUTHORIZED => failure.next("give its token with --token-file"),
        _ => failure.next(
            said("next")
                .unwrap_or("check what listens there")
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_says_is_told() {
        let failure = refused(
            "http://a:9477",
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"error": "it has ended", "next": "start it again"}"#,
        );
        let text = failure.to_string();
        for part in [
            "http://a:9477",
            "it has ended",
            "503",
            "next: start it again",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let other = refused("http://b", StatusCode::NOT_FOUND, "<html>").to_string();
        assert!(other.contains("not a gotrace"), "{other}");
    }

    #[test]
    fn an_agent_is_asked_for_one_process() {
        for (url, address) in [
            ("http://a:9477", "http://a:9477/api/v1/snapshot"),
            ("http://a:9477/", "http://a:9477/api/v1/snapshot"),
            (
                "http://a:9477/api/v1/processes/4711",
                "http://a:9477/api/v1/processes/4711/snapshot",
            ),
            (
                "https://a/x/api/v1/processes/y",
                "https://a/x/api/v1/processes/y/api/v1/snapshot",
            ),
        ] {
            assert_eq!(snapshot_address(url), address);
        }
    }

    #[test]
    fn urls_are_told_from_files() {
        for (name, is) in [
            ("http://a:9477", true),
            ("https://a", true),
            ("4711", false),
            ("http", false),
            ("dir/http://a", false),
        ] {
            assert_eq!(is_url(name), is, "{name}");
        }
    }
}
