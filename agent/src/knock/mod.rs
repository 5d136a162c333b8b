//! Knocks: a node that shows strangers no open port opens for whoever proves, in one message and unanswered, that they may
//! log in. What a knock is, is `cotter_knock`'s to say.
//!
//! All of it is done by one thread, so that a flood keeps nobody's login waiting.

mod doorkeeper;
mod judge;
mod latest;
mod listener;
mod refusal;
mod sockets;
mod stream;

pub(crate) use refusal::Refusal;

use crate::daemon::Daemon;
use doorkeeper::Doorkeeper;
use sockets::Sockets;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::oneshot;

/// How long it waits before it tries again to listen.
const AGAIN: Duration = Duration::from_secs(5);

/// Hears knocks from now on. What comes of it ends only with the thread, which is a fault.
///
/// # Errors
/// There is no thread to hear them.
pub(crate) fn hear(daemon: Arc<Daemon>) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    daemon.audit.tally().begin_knocks();
    let mut doorkeeper = Doorkeeper::new(Arc::clone(&daemon), Instant::now());
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (alive, ended) = oneshot::channel::<()>();
    thread::Builder::new().name("knocks".to_owned()).spawn(move || {
        let _alive = alive;
        runtime.block_on(listen(&daemon, &mut doorkeeper));
    })?;
    Ok(async move {
        assert!(ended.await.is_ok(), "the thread that hears knocks has ended");
    })
}

/// What is in the way of listening must not keep the agent from starting; an address may come, and a port become free.
async fn listen(daemon: &Daemon, doorkeeper: &mut Doorkeeper) {
    loop {
        let error = match open(daemon) {
            Ok(sockets) => {
                daemon.knocks_not_heard(None);
                listener::listen(sockets, doorkeeper).await.err()
            }
            Err(error) => Some(error),
        };
        daemon.knocks_not_heard(error.map(|error| error.to_string()));
        tokio::time::sleep(AGAIN).await;
    }
}

fn open(daemon: &Daemon) -> io::Result<Sockets> {
    let config = daemon.config();
    let knocks = config.knocks.as_ref().ok_or_else(|| io::Error::other("there is no [knock]"))?;
    Sockets::open(knocks)
}
