//! Who may ask a server of gotrace, how, and how long: what is refused is refused as docs/api.md says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use integration_tests::http::{Question, get, hear, say};
use integration_tests::{Gotrace, Target, eventually, require_root};
use tempfile::TempDir;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// A token and a certificate for 127.0.0.1 in files.
struct Files {
    directory: TempDir,
    certificate: String,
}

impl Files {
    fn new() -> Files {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let certificate = made.cert.pem();
        let files = Files {
            directory,
            certificate,
        };
        for (name, text) in [
            ("token", TOKEN),
            ("cert", &files.certificate),
            ("key", &made.signing_key.serialize_pem()),
        ] {
            fs::write(files.path(name), text).expect("the directory is ours");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn argument(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of ours").to_owned()
    }

    /// What makes a server safe on any address.
    fn arguments(&self) -> Vec<String> {
        let flags = [
            ("--token-file", "token"),
            ("--tls-cert", "cert"),
            ("--tls-key", "key"),
        ];
        flags
            .into_iter()
            .flat_map(|(flag, file)| [flag.to_owned(), self.argument(file)])
            .collect()
    }
}

/// A server that looks at a program without probes.
struct Server {
    gotrace: Gotrace,
    _target: Target,
    /// Where it is asked, on this machine.
    address: SocketAddr,
}

impl Server {
    #[track_caller]
    fn start(listen: &str, arguments: &[&str]) -> Server {
        Server::of(Target::start("crowd", &["-n", "10"]), listen, arguments)
    }

    #[track_caller]
    fn of(target: Target, listen: &str, arguments: &[&str]) -> Server {
        require_root();
        let all = [&["--level", "observe", "--listen", listen], arguments].concat();
        let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &all);
        // Memory was read.
        gotrace.until("summary", |summary| summary["goroutines"]["total"] != 0);
        let address: SocketAddr = attached["listening"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .expect("it says where it listens");
        Server {
            gotrace,
            _target: target,
            address: SocketAddr::new([127, 0, 0, 1].into(), address.port()),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The status of the answer to a request's bytes.
    #[track_caller]
    fn status(&self, request: &str) -> u16 {
        let answer = say(self.address, request.as_bytes());
        answer
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("no answer: {answer:?}"))
    }
}

/// A request of so much, which asks for the connection's end.
fn request(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

#[test]
fn where_others_can_reach_it_a_token_and_tls_are_needed() {
    require_root();
    let files = Files::new();
    let target = Target::start("crowd", &["-n", "10"]);
    let (token, certificate, key) = (
        files.argument("token"),
        files.argument("cert"),
        files.argument("key"),
    );
    for (listen, arguments) in [
        ("0.0.0.0:0", vec![]),
        ("[::]:0", vec![]),
        ("0.0.0.0:0", vec!["--token-file", &token]),
        (
            "0.0.0.0:0",
            vec!["--tls-cert", &certificate, "--tls-key", &key],
        ),
    ] {
        let pid = target.pid_argument();
        let start = ["run", "--pid", &pid, "--duration", "5s", "--listen", listen];
        let finished = Gotrace::run(&[&start, &*arguments].concat());
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        for word in [
            listen,
            "--token-file",
            "--tls-cert",
            "--tls-key",
            "--insecure-listen",
        ] {
            assert!(finished.stderr.contains(word), "{word}: {finished:#?}");
        }
    }
    target.end_unharmed();
}

#[test]
fn who_says_so_may_listen_without() {
    let server = Server::start("0.0.0.0:0", &["--insecure-listen"]);
    let (status, health) = get(&server.url("/healthz"));
    assert_eq!(status, 200, "{health}");
}

#[test]
fn a_token_that_is_missing_or_wrong_is_refused() {
    let files = Files::new();
    let token = files.argument("token");
    let server = Server::start("127.0.0.1:0", &["--token-file", &token]);
    for path in ["/metrics", "/api/v1/goroutines", "/api/v1/none"] {
        let url = server.url(path);
        let (status, body) = get(&url);
        assert_eq!(status, 401, "{path}: {body}");
        for wrong in ["", "x", &TOKEN[1..], &format!("{TOKEN}0")] {
            let (status, body) = Question::with_token(wrong).get(&url).expect("an answer");
            assert_eq!(status, 401, "{path} with {wrong:?}: {body}");
            assert!(!body.contains(TOKEN), "{body}");
        }
        let (status, body) = Question::with_token(TOKEN).get(&url).expect("an answer");
        assert_ne!(status, 401, "{path}: {body}");
    }
    let refused = say(
        server.address,
        request("/metrics", "Host: localhost\r\n").as_bytes(),
    );
    assert!(
        refused
            .to_lowercase()
            .contains("\r\nwww-authenticate: bearer"),
        "{refused}"
    );
    // Whether it is there may be asked by anybody.
    assert_eq!(get(&server.url("/healthz")).0, 200);
}

#[test]
fn a_file_without_a_token_is_refused() {
    require_root();
    let files = Files::new();
    fs::write(files.path("short"), "secret").expect("the directory is ours");
    let target = Target::start("crowd", &["-n", "10"]);
    for file in ["short", "none"] {
        let (pid, file) = (target.pid_argument(), files.argument(file));
        let finished = Gotrace::run(&["run", "--pid", &pid, "--token-file", &file]);
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        assert!(finished.stderr.contains(&file), "{finished:#?}");
        assert!(!finished.stderr.contains("secret"), "{finished:#?}");
    }
}

#[test]
fn with_a_certificate_it_speaks_https_alone() {
    let files = Files::new();
    let arguments = files.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start("0.0.0.0:0", &arguments);
    let question = Question {
        trusted: Some(files.certificate.clone()),
        ..Question::with_token(TOKEN)
    };
    let url = format!("https://{}/api/v1/goroutines", server.address);
    let (status, body) = question.get(&url).expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("gotrace.goroutines/1"), "{body}");
    // A gotrace that asks another one.
    let (url, token, ca) = (
        format!("https://{}", server.address),
        files.argument("token"),
        files.argument("cert"),
    );
    let ask = |arguments: &[&str]| {
        Gotrace::run(
            &[
                &["goroutines", "--url", &url, "--format", "json"],
                arguments,
            ]
            .concat(),
        )
    };
    let answered = ask(&["--token-file", &token, "--tls-ca", &ca]);
    answered.document("gotrace.goroutines/1");
    for (arguments, said) in [
        (&["--tls-ca", ca.as_str()][..], "--token-file"),
        (&["--token-file", token.as_str()], "did not answer"),
    ] {
        let refused = ask(arguments);
        assert_eq!(refused.code, Some(2), "{refused:#?}");
        assert!(refused.stderr.contains(&url), "{refused:#?}");
        assert!(refused.stderr.contains(said), "{refused:#?}");
    }
    let url = format!("{url}/api/v1/goroutines");
    let stranger = Question::with_token(TOKEN).get(&url);
    assert!(stranger.is_err(), "a certificate that nobody signed");
    let plain = say(
        server.address,
        request("/healthz", "Host: localhost\r\n").as_bytes(),
    );
    assert!(!plain.contains("tracing"), "{plain}");
}

#[test]
fn a_page_of_the_web_with_a_name_of_its_own_is_refused() {
    let server = Server::start("127.0.0.1:0", &["--allow-host", "trace.example"]);
    for (headers, status) in [
        ("Host: localhost\r\n", 200),
        ("Host: 127.0.0.1:9477\r\n", 200),
        ("Host: trace.example:9477\r\n", 200),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost.evil.example:9477\r\n", 421),
        ("Host: localhost\r\nHost: evil.example\r\n", 421),
        ("", 421),
    ] {
        let answered = server.status(&request("/healthz", headers));
        assert_eq!(answered, status, "{headers:?}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start("127.0.0.1:0", &[]);
    let host = "Host: localhost\r\n";
    let long = |bytes: usize| "x".repeat(bytes);
    let filler = format!("X-Filler: {}\r\n", long(20 << 10));
    let many = "X-Many: 1\r\n".repeat(100);
    let target = format!("/api/v1/goroutines?with=stack+{}", long(5000));
    let body = format!("{host}Content-Length: 1000000\r\n");
    for (request, statuses) in [
        (request(&target, host), 414),
        (request("/healthz", &format!("{host}{filler}")), 431),
        (request("/healthz", &format!("{host}{many}")), 431),
        (request("/healthz", &body), 413),
    ] {
        assert_eq!(server.status(&request), statuses, "{:.60}", request);
    }
    assert_eq!(get(&server.url("/healthz")).0, 200);
}

#[test]
fn who_never_ends_a_question_is_not_waited_for() {
    let server = Server::start("127.0.0.1:0", &[]);
    // As many as there may be connections.
    let mut slow: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("it listens");
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: loc")
                .expect("it takes what comes");
            stream
        })
        .collect();
    // Others wait until these are cut off, and are answered then.
    assert_eq!(get(&server.url("/healthz")).0, 200);
    for stream in &mut slow {
        let heard = hear(stream);
        assert!(!heard.contains("200 OK"), "{heard}");
    }
}

#[test]
fn who_takes_no_answer_is_cut_off_and_delays_nobody() {
    let target = Target::start("crowd", &["-n", "20000"]);
    let mut server = Server::of(target, "127.0.0.1:0", &["--interval", "200ms"]);
    let asked = request("/api/v1/goroutines", "Host: localhost\r\n");
    // As many as are given lists at a time.
    let mut deaf: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("it listens");
            stream
                .write_all(asked.as_bytes())
                .expect("it takes what comes");
            stream
        })
        .collect();
    // The trace goes on, and others are answered.
    for _ in 0..3 {
        server.gotrace.until("summary", |_| true);
    }
    assert_eq!(get(&server.url("/healthz")).0, 200);
    // Once they are cut off, there is one for others as well.
    eventually("a list for who takes it", || {
        let (status, _) = get(&server.url("/api/v1/goroutines?limit=1"));
        (status == 200).then_some(())
    });
    for stream in &mut deaf {
        let mut rest = Vec::new();
        // A connection that was broken off says so.
        let _ = stream.read_to_end(&mut rest);
        let whole = rest.ends_with(b"}\r\n0\r\n\r\n");
        assert!(!whole, "a whole list of {} bytes", rest.len());
    }
}
