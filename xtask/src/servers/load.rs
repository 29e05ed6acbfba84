//! Work for a server: clients that stay and clients that come and go, some quick, some slow.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::server::{Asked, Server};

/// Clients that keep their connection.
const STEADY: usize = 8;
/// Between two requests of one of them.
const PACE: Duration = Duration::from_millis(40);
/// Between two clients that come, ask once and go.
const VISIT: Duration = Duration::from_millis(100);
/// Clients that connect, say nothing, and go after this.
const SILENT: usize = 4;
const SILENCE: Duration = Duration::from_secs(7);
/// No client waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clients at work.
pub(super) struct Load {
    done: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets clients loose on a server.
    pub(super) fn start(server: &'static Server, address: SocketAddr) -> Load {
        let mut load = Load {
            done: Arc::default(),
            answered: Arc::default(),
            threads: Vec::new(),
        };
        match server.asked {
            Asked::Http(paths) => {
                for client in 0..STEADY {
                    let agent = agent();
                    let mut turn = client;
                    load.client(PACE, move || {
                        turn += 1;
                        ask(&agent, address, paths[turn % paths.len()])
                    });
                }
                let mut turn = 0;
                load.client(VISIT, move || {
                    turn += 1;
                    ask(&agent(), address, paths[turn % paths.len()])
                });
            }
            Asked::Nats => {
                for client in 0..STEADY {
                    let mut connection = None;
                    load.client(PACE, move || talk(&mut connection, address, client % 3));
                }
                load.client(VISIT, move || talk(&mut None, address, 0));
            }
        }
        for _ in 0..SILENT {
            let mut silent = Vec::new();
            load.client(SILENCE, move || {
                silent.clear();
                silent.extend(TcpStream::connect(address));
                false
            });
        }
        load
    }

    /// A thread that does something again and again and counts how often it was answered.
    fn client(&mut self, pace: Duration, mut act: impl FnMut() -> bool + Send + 'static) {
        let (done, answered) = (Arc::clone(&self.done), Arc::clone(&self.answered));
        self.threads.push(thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                answered.fetch_add(u64::from(act()), Ordering::Relaxed);
                thread::sleep(pace);
            }
        }));
    }

    /// Sends the clients away; returns how many answers they got.
    pub(super) fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into()
}

/// Asks once and reads the answer to its end; tells whether there was one.
fn ask(agent: &ureq::Agent, address: SocketAddr, (path, body): (&str, Option<&str>)) -> bool {
    let url = format!("http://{address}{path}");
    let answer = match body {
        Some(body) => agent.post(&url).send(body),
        None => agent.get(&url).call(),
    };
    answer.is_ok_and(|mut answer| answer.body_mut().read_to_vec().is_ok())
}

/// A NATS client that subscribes to a subject, says something on it and hears it.
fn talk(
    connection: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    subject: usize,
) -> bool {
    let open = || -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        write!(
            stream.get_mut(),
            "CONNECT {{\"verbose\":false}}\r\nSUB s.{subject} 1\r\n"
        )?;
        Ok(stream)
    };
    let mut exchange = || -> std::io::Result<bool> {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(open()?),
        };
        write!(stream.get_mut(), "PUB s.{subject} 5\r\nhello\r\nPING\r\n")?;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            match line.trim() {
                "PONG" => return Ok(true),
                "PING" => write!(stream.get_mut(), "PONG\r\n")?,
                _ => {}
            }
        }
    };
    let answered = exchange().unwrap_or(false);
    if !answered {
        *connection = None;
    }
    answered
}
