//! The debug adapter, driven by VS Code's own test client, and by who speaks something else.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;

use integration_tests::{Gotrace, PATIENCE, eventually, gotrace, provided, require_root, target};

/// A connection to a `gotrace dap --listen`, with that.
struct Server {
    // Ended when dropped.
    _gotrace: Gotrace,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let arguments = [&["dap", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut gotrace = Gotrace::start(&arguments);
        let line = gotrace.line();
        let address = line
            .strip_prefix("listening on ")
            .expect("it says where")
            .to_owned();
        Server {
            _gotrace: gotrace,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has that");
        stream
    }

    /// What it answers to these bytes until it closes the connection.
    fn hears(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("it listens");
        // It may have closed the connection already.
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn message(json: &str) -> Vec<u8> {
    format!("Content-Length: {}\r\n\r\n{json}", json.len()).into_bytes()
}

const INITIALIZE: &str = r#"{"seq":1,"type":"request","command":"initialize","arguments":{}}"#;

#[test]
fn vs_codes_own_client_completes_a_session() {
    require_root();
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let client = provided("GOTRACE_DAP_CLIENT", "dap-client");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dap/session.js");
    let output = Command::new("node")
        .arg(script)
        .arg(directory.path())
        .env("NODE_PATH", client.join("node_modules"))
        .env("GOTRACE", gotrace::program())
        .env("ORDERS", target::fixture("orders"))
        .env_remove("GOTRACE_LOG")
        .output()
        .expect("`cargo xtask test` installs node");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    for way in ["stdio", "tcp", "file"] {
        assert!(
            stdout.contains(&format!("{way}: a whole session")),
            "{stdout}{stderr}"
        );
    }
}

#[test]
fn who_speaks_something_else_is_told_and_let_go() {
    let server = Server::start(&[]);
    for (bytes, named) in [
        (
            &b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"[..],
            "is no header",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            "is no header",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n", "is no header"),
        (b"Content-Length: 99999999999\r\n\r\n", "99999999999 bytes"),
        (b"Content-Length: 100\r\n\r\n{}", "within a message"),
    ] {
        let said = server.hears(bytes);
        assert!(said.contains(named), "{said}");
        assert!(said.contains(r#""event":"terminated""#), "{said}");
        assert!(
            !said.contains(r#""type":"response""#),
            "nothing was understood: {said}"
        );
    }
    // Others are served all the same.
    let said = server.hears(&message(INITIALIZE));
    assert!(said.contains("supportsConfigurationDoneRequest"), "{said}");
}

#[test]
fn sessions_are_bounded() {
    let server = Server::start(&[]);
    let speak = |stream: &mut TcpStream| {
        stream.write_all(&message(INITIALIZE)).expect("it listens");
        let mut byte = [0; 512];
        let length = stream.read(&mut byte).expect("it answers");
        String::from_utf8_lossy(&byte[..length]).into_owned()
    };
    let mut sessions: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
    for session in &mut sessions {
        assert!(speak(session).contains("\"success\":true"));
    }
    assert!(server.hears(b"").contains("8 sessions are open"));
    drop(sessions);
    eventually("a place is free again", || {
        let said = server.hears(&message(INITIALIZE));
        said.contains("\"success\":true").then_some(())
    });
}

#[test]
fn where_others_can_reach_it_it_listens_only_if_told_and_opens_no_file() {
    let refused = Gotrace::run(&["dap", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    for part in ["others can reach it", "ssh -L", "--insecure-listen"] {
        assert!(refused.stderr.contains(part), "{refused:#?}");
    }
    let server = Server::start(&["--insecure-listen"]);
    let attach =
        r#"{"seq":2,"type":"request","command":"attach","arguments":{"from":"/etc/passwd"}}"#;
    let said = server.hears(&[message(INITIALIZE), message(attach)].concat());
    assert!(said.contains("it opens processes alone"), "{said}");
}
