//! Who is at the other end of a connection on this machine.
//!
//! Whoever may speak to a gotrace of root can read any program's memory by it, so on a machine with several
//! users it matters who that is. The kernel tells whose a socket is.

use std::io;
use std::net::{SocketAddr, TcpStream};

use procfs::process::Process;

/// The user who runs sudo is root already; it says who that is.
const SUDO_UID: &str = "SUDO_UID";

/// Lets the user in who started gotrace, also through sudo, and root.
///
/// # Errors
/// Why somebody else stays outside.
pub(crate) fn check(stream: &TcpStream) -> Result<(), String> {
    let through_sudo = std::env::var(SUDO_UID).ok();
    let allowed = [
        Some(rustix::process::geteuid().as_raw()),
        Some(0),
        through_sudo.and_then(|uid| uid.parse().ok()),
    ];
    match owner(stream) {
        Ok(Some(uid)) if allowed.contains(&Some(uid)) => Ok(()),
        Ok(Some(uid)) => Err(format!(
            "user {uid} did not start this gotrace (--insecure-listen lets everybody in)"
        )),
        Ok(None) => {
            Err("whose it is is not known (--insecure-listen lets everybody in)".to_owned())
        }
        Err(error) => Err(format!("whose it is cannot be told: {error}")),
    }
}

/// The user whose socket is at the other end, if that is on this machine.
fn owner(stream: &TcpStream) -> io::Result<Option<u32>> {
    let (theirs, ours) = (stream.peer_addr()?, stream.local_addr()?);
    let process = Process::myself().map_err(io::Error::other)?;
    let tables = [process.tcp(), process.tcp6()];
    let mut sockets = tables.into_iter().flatten().flatten();
    let found = sockets
        .find(|socket| same(socket.local_address, theirs) && same(socket.remote_address, ours));
    Ok(found.map(|socket| socket.uid))
}

/// Whether two addresses are the same, be it that one is written as IPv6.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ones_own_connection_is_known() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            // A machine without IPv6 has nobody to mistake there.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().unwrap();
            let uid = rustix::process::geteuid().as_raw();
            assert_eq!(owner(&stream).unwrap(), Some(uid), "{address}");
            check(&stream).unwrap();
            drop(client);
        }
    }
}
