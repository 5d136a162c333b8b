//! From a lock to the first packet that is dropped, in a session that sends all the time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use agent_ebpf::{FlowKey, SessionId, SessionState};
use anyhow::{Context, Result, bail, ensure};
use cotter_agent::datapath::Tables;
use lab::{Place, Session, eventually};
use serde_json::Value;

use crate::logins::milliseconds;
use crate::node::Node;

const AGENT: &str = "cotter-agent";
const PINS: &str = "/sys/fs/bpf/cotter";
const USER: &str = "example.com/alice";

/// What a packet carries, and how long the client waits before the next.
const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
const PAUSE: Duration = Duration::from_micros(100);

/// After this a lock that does nothing counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds from the start of `cotter-agent lock`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    /// Until the session is cut in the kernel's map: the first packet after this is dropped.
    pub(crate) in_force: f64,
    /// Until a packet of the session was counted as dropped, if one came before the node had closed its socket.
    pub(crate) drop: Option<f64>,
    /// Until the node had closed its socket: no packet comes through after this.
    pub(crate) socket: f64,
    /// Until the client had ended.
    pub(crate) client: f64,
}

/// Looks at the maps of the agent's node.
pub(crate) struct LockBench {
    tables: Tables,
}

impl LockBench {
    /// Opens the maps.
    pub(crate) fn set_up(node: &Node) -> Result<Self> {
        Self::of(node.lab.node())
    }

    /// The same of any node with an agent.
    pub(crate) fn of(node: &Place) -> Result<Self> {
        Ok(Self { tables: node.enter(|| Tables::open(PINS.as_ref()))?? })
    }

    /// Locks alice out of a session of hers, and takes the lock away again.
    pub(crate) fn round(&self, node: &Node) -> Result<Lock> {
        let agent = node.agent().context("a node without an agent")?;
        let (lock, answer) = self.measure(node.login().stay()?, || lock_out(node.lab.node()))?;
        agent.told(&["unlock", answer["lock"]["id"].as_str().context("a lock without an id")?])?;
        node.settle()?;
        self.deserted()?;
        Ok(lock)
    }

    /// Waits until no session is left.
    pub(crate) fn deserted(&self) -> Result<()> {
        eventually("the session is gone", || Ok(self.tables.sessions()?.is_empty().then_some(())))
    }

    /// Locks the only session out; how long it took, and what the lock's command said.
    pub(crate) fn measure(
        &self,
        session: Session,
        lock_out: impl FnOnce() -> Result<(Instant, Value)>,
    ) -> Result<(Lock, Value)> {
        let (key, id) = self.only_flow()?;
        std::thread::scope(|scope| -> Result<_> {
            let client = scope.spawn(|| send_until_cut(session));
            let watch = scope.spawn(|| self.watch(&key, id));
            let (start, answer) = lock_out()?;
            let since = |moment: Instant| milliseconds(moment.duration_since(start));
            let seen = watch.join().map_err(|_panic| anyhow::anyhow!("the watch failed"))??;
            let client = client.join().map_err(|_panic| anyhow::anyhow!("the client failed"))??;
            let lock = Lock {
                in_force: since(seen.cut),
                drop: seen.dropped.map(since),
                socket: since(seen.closed),
                client: since(client),
            };
            Ok((lock, answer))
        })
    }

    fn only_flow(&self) -> Result<(FlowKey, SessionId)> {
        let flows = self.tables.flows()?;
        ensure!(flows.len() == 1, "{} connections instead of one", flows.len());
        flows.first().map(|(key, flow)| (*key, flow.session())).context("no connection")
    }

    /// Looks at the session over and over until its connection is gone.
    fn watch(&self, key: &FlowKey, id: SessionId) -> Result<Seen> {
        let begin = Instant::now();
        let (mut cut, mut dropped) = (None, None);
        while begin.elapsed() < PATIENCE {
            let is_cut = self.tables.session(id)?.is_none_or(|session| session.state() == SessionState::Cut);
            if cut.is_none() && is_cut {
                cut = Some(Instant::now());
            }
            let drops = self.tables.drops(id)?;
            if dropped.is_none() && drops.is_some_and(|drops| drops.dropped() > 0) {
                dropped = Some(Instant::now());
            }
            if self.tables.flow(key)?.is_none() {
                let closed = Instant::now();
                return Ok(Seen { cut: cut.unwrap_or(closed), dropped, closed });
            }
            // Long enough to leave the processor to those who are measured.
            std::thread::sleep(Duration::from_micros(20));
        }
        bail!("the session was not cut within {PATIENCE:?}")
    }
}

/// When something was first seen.
struct Seen {
    cut: Instant,
    dropped: Option<Instant>,
    closed: Instant,
}

/// Runs `cotter-agent lock`; when it was started, and what it said.
fn lock_out(node: &Place) -> Result<(Instant, Value)> {
    let mut command = Place::command(AGENT);
    command.args(["lock", "--user", USER, "--json"]).stdin(Stdio::null());
    let (start, output) = node.enter(|| (Instant::now(), command.output()))?;
    let output = output?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cotter-agent lock: {}: {complaint}", output.status);
    Ok((start, serde_json::from_slice(&output.stdout)?))
}

/// Sends and hears, until the client has ended.
fn send_until_cut(mut session: Session) -> Result<Instant> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if !session.send(TEXT)? || session.hear(PAUSE)?.is_some_and(|heard| heard.is_empty()) {
            return Ok(Instant::now());
        }
    }
    bail!("the client did not end within {PATIENCE:?}")
}
