//! The listeners for trusted relays' connections: the kernel leads these to them once the agent has them.

use super::agent::ask;
use super::call::{Answer, Call};
use super::listener::RelayError;
use rustix::io::Errno;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// How long the agent may take to take it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before an agent that is not there, or does not want it, is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// One for each family that the node has, at ports that nobody knows, on loopback: nobody but the kernel program leads anybody
/// there.
pub(super) fn listen() -> io::Result<Vec<TcpListener>> {
    let missing = |error: &io::Error| {
        matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
    };
    let mut listeners = Vec::with_capacity(2);
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        match TcpListener::bind((address, 0)) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                listeners.push(listener);
            }
            Err(error) if missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

/// Offers one to each agent that comes, on a thread of its own, for as long as the process lives.
pub(super) fn to_agents(listener: TcpListener, runtime_dir: PathBuf) -> Result<(), RelayError> {
    let thread = std::thread::Builder::new().name("offer".to_owned());
    thread.spawn(move || {
        let mut told = None;
        loop {
            match ask(&Call::Listener, Some(listener.as_fd()), &runtime_dir, PATIENCE) {
                Ok((mut stream, Answer::Go)) => {
                    told = None;
                    if stream.set_read_timeout(None).is_ok() {
                        // It says no more: this is its end.
                        let _ended = stream.read(&mut [0]);
                    }
                }
                Ok((_stream, Answer::Stay(why))) if told.as_ref() != Some(&why) => {
                    tracing::warn!("connections of trusted relays do not come here: {why}");
                    told = Some(why);
                }
                Ok(_) | Err(_) => {}
            }
            std::thread::sleep(PAUSE);
        }
    })?;
    Ok(())
}
