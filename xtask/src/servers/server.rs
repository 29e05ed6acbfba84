//! The servers, and one that runs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where free ports are looked for from.
const FIRST_PORT: u16 = 21_000;

/// What is asked of a server.
pub(super) enum Asked {
    /// These paths, by GET; those with a body by POST.
    Http(&'static [(&'static str, Option<&'static str>)]),
    /// Messages over a subject that many subscribe.
    Nats,
}

/// A server that can be started.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Where the program is from.
    pub(super) from: &'static str,
    /// Its file among the programs that `cargo xtask setup` downloads.
    pub(super) program: &'static str,
    /// The arguments, for a directory of its own and two addresses: the first is asked.
    arguments: fn(&Path, SocketAddr, SocketAddr) -> Result<Vec<String>>,
    pub(super) asked: Asked,
}

pub(super) const SERVERS: &[Server] = &[
    Server {
        name: "prometheus",
        from: "Debian",
        program: "prometheus",
        arguments: |directory, address, _| {
            let configuration = directory.join("prometheus.yml");
            let text = format!(
                "global: {{scrape_interval: 1s}}\n\
                 scrape_configs:\n\
                 - job_name: self\n  static_configs: [{{targets: ['{address}']}}]\n"
            );
            fs::write(&configuration, text)?;
            Ok(vec![
                format!("--config.file={}", configuration.display()),
                format!("--storage.tsdb.path={}", directory.join("data").display()),
                format!("--web.listen-address={address}"),
            ])
        },
        asked: Asked::Http(&[
            ("/api/v1/query?query=up", None),
            (
                "/api/v1/query?query=rate(prometheus_http_requests_total[1m])",
                None,
            ),
            ("/api/v1/series?match[]=up", None),
            ("/metrics", None),
            ("/-/ready", None),
        ]),
    },
    Server {
        name: "node-exporter",
        from: "Debian",
        program: "node-exporter",
        arguments: |_, address, _| Ok(vec![format!("--web.listen-address={address}")]),
        asked: Asked::Http(&[("/metrics", None), ("/", None)]),
    },
    Server {
        name: "caddy",
        from: "PyPI",
        program: "caddy-2.11",
        arguments: |directory, address, other| {
            let configuration = directory.join("Caddyfile");
            let root = directory.join("site");
            fs::create_dir_all(&root)?;
            fs::write(root.join("index.html"), "<p>well</p>\n".repeat(500))?;
            // It is a proxy of itself.
            let text = format!(
                "{{\n\tadmin off\n}}\n\
                 http://{address} {{\n\
                 \thandle /files/* {{\n\t\troot {root}\n\t\turi strip_prefix /files\n\t\tfile_server\n\t}}\n\
                 \thandle {{\n\t\treverse_proxy {other}\n\t}}\n}}\n\
                 http://{other} {{\n\trespond \"well\"\n}}\n",
                root = root.display(),
            );
            fs::write(&configuration, text)?;
            let path = configuration.display().to_string();
            Ok(["run", "--config", &path].map(str::to_owned).to_vec())
        },
        asked: Asked::Http(&[
            ("/files/index.html", None),
            ("/", None),
            ("/files/none", None),
        ]),
    },
    Server {
        name: "etcd",
        from: "Debian",
        program: "etcd",
        arguments: |directory, address, other| {
            let [client, peer] = [address, other].map(|address| format!("http://{address}"));
            Ok(vec![
                format!("--data-dir={}", directory.join("data").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
            ])
        },
        asked: Asked::Http(&[
            ("/v3/kv/put", Some(r#"{"key":"Zm9v","value":"YmFy"}"#)),
            ("/v3/kv/range", Some(r#"{"key":"Zm9v"}"#)),
            ("/v3/lease/grant", Some(r#"{"TTL":"5"}"#)),
            ("/metrics", None),
            ("/health", None),
        ]),
    },
    Server {
        name: "nats",
        from: "PyPI",
        program: "nats-2.15",
        arguments: |_, address, _| {
            let port = address.port().to_string();
            Ok(["--addr", "127.0.0.1", "--port", &port]
                .map(str::to_owned)
                .to_vec())
        },
        asked: Asked::Nats,
    },
];

/// A running server; killed when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Running {
    /// Starts it with an empty directory of its own and waits until it takes connections.
    pub(super) fn start(server: &Server, program: &Path, directory: &Path) -> Result<Running> {
        let [address, other] = [free_address()?, free_address()?];
        let arguments = (server.arguments)(directory, address, other)?;
        let output = File::create(directory.join("output"))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env("HOME", directory)
            .env("XDG_CONFIG_HOME", directory)
            .env("XDG_DATA_HOME", directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut running = Running { child, address };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            ensure!(
                running.is_alive() && Instant::now() < deadline,
                "it does not listen: see {}",
                directory.join("output").display()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback that nobody listens on. Not one of those that the kernel gives to who connects:
/// waiting for it, a client could get that very port and be connected with itself.
fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST_PORT);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port >= FIRST_PORT, "no port is free");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
}
