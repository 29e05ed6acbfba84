//! The web page, in a browser that knows nothing of gotrace: Chromium, driven by Playwright.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use integration_tests::http::{Question, get};
use integration_tests::{Gotrace, Target, require_root};
use rustix::process::Signal;

const TOKEN: &str = "a-token-of-this-test-0123456789";

fn told(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    value
        .unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`"))
        .into()
}

/// Traces a program; returns the trace and where it is served.
#[track_caller]
fn serve(target: &Target, arguments: &[&str]) -> (Gotrace, String) {
    require_root();
    let all = [&["--listen", "127.0.0.1:0"], arguments].concat();
    let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &all);
    gotrace.until("summary", |summary| summary["goroutines"]["total"] != 0);
    let address = attached["listening"].as_str().expect("it says where");
    let url = format!("http://{address}");
    (gotrace, url)
}

/// Runs a script of `tests/page`, which drives the page at a URL. `end` is called when it says so.
#[track_caller]
fn drive(script: &str, url: &str, variables: &[(&str, &str)], end: impl FnOnce()) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    let mut child = Command::new("node")
        .arg(scripts.join(script))
        .env("GOTRACE_PAGE", url)
        .env("GOTRACE_PAGE_TOOLS", told("GOTRACE_PAGE_TOOLS"))
        .env("GOTRACE_CHROMIUM", told("GOTRACE_CHROMIUM"))
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is there: run `cargo xtask test`");
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut end = Some((end, input.expect("a pipe")));
    let mut said = Vec::new();
    let lines = std::io::BufReader::new(output.expect("a pipe"));
    for line in std::io::BufRead::lines(lines).map_while(Result::ok) {
        if line == "END"
            && let Some((end, mut input)) = end.take()
        {
            writeln!(input, "go on").expect("the script listens");
            end();
        }
        eprintln!("{line}");
        said.push(line);
    }
    let status = child.wait().expect("it is our child");
    assert!(status.success(), "{script}: {status}");
    assert_eq!(said.last().map(String::as_str), Some("DONE"));
}

#[test]
fn from_a_service_that_hangs_to_the_line_at_fault() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).expect("the directory is ours");
    let target = Target::start("demo", &["-leak-every", "1ms", "-leaks", "6"]);
    let token = token.to_str().expect("a path of ours");
    let values = ["--values", "8", "--expose-values"];
    let arguments = [&["--level", "full", "--token-file", token], &values[..]].concat();
    let (gotrace, url) = serve(&target, &arguments);
    drive("hangs.mjs", &url, &[("GOTRACE_PAGE_TOKEN", TOKEN)], || {
        gotrace.signal(Signal::INT);
    });
    drop(gotrace);
}

#[test]
fn a_crowd_is_shown_without_drawing_it() {
    let goroutines = "100000";
    let target = Target::start("crowd", &["-n", goroutines]);
    let (gotrace, url) = serve(&target, &["--level", "observe"]);
    drive("crowd.mjs", &url, &[("GOTRACE_CROWD", goroutines)], || {});
    drop(gotrace);
}

#[test]
fn the_files_of_the_page_are_open_and_strict() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).expect("the directory is ours");
    let target = Target::start("hello", &[]);
    let token = token.to_str().expect("a path of ours");
    let (gotrace, url) = serve(&target, &["--level", "observe", "--token-file", token]);
    let address = url.trim_start_matches("http://");
    let ask = |path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let address = address.parse().expect("an address");
        integration_tests::http::say(address, request.as_bytes())
    };
    let index = ask("/", "localhost");
    let (head, body) = index.split_once("\r\n\r\n").expect("a head and a body");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for line in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-cache",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
    ] {
        assert!(head.contains(line), "no {line} in {head}");
    }
    let script = body.split('"').find(|part| part.ends_with(".js"));
    let script = script
        .expect("the page has a script")
        .trim_start_matches('.');
    let script = ask(script, "localhost").to_ascii_lowercase();
    assert!(script.starts_with("http/1.1 200"), "{}", &script[..200]);
    assert!(script.contains("cache-control: public, max-age=31536000, immutable"));
    // What is asked for by another name is not answered, nor what is not there, nor data without a token.
    assert!(ask("/", "evil.example").starts_with("HTTP/1.1 421"));
    for path in ["/assets/none.js", "/assets/..%2findex.html", "/index.html"] {
        let answer = ask(path, "localhost");
        let expected = if path.starts_with("/assets/") {
            "HTTP/1.1 404"
        } else {
            "HTTP/1.1 401"
        };
        assert!(answer.starts_with(expected), "{path}: {answer}");
    }
    assert_eq!(get(&format!("{url}/api/v1/history")).0, 401);
    let question = Question::with_token(TOKEN);
    let (status, history) = question
        .get(&format!("{url}/api/v1/history"))
        .expect("an answer");
    assert_eq!(status, 200, "{history}");
    assert!(
        history.contains("\"schema\":\"gotrace.history/1\""),
        "{history}"
    );
    drop(gotrace);
}
