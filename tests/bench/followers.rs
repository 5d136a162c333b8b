//! A node that follows an authority, among ninety-nine others that do: from a lock there to the first packet that is
//! dropped here.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cotter_api::{Authority as Asked, PolicyKey, Trust};
use lab::{Agent, AgentSetup, Authority, Identity, Lab, Login, NODE_V4, Place, Sshd, SshdSetup, eventually};
use serde_json::Value;

use crate::locks::{Lock, LockBench};
use crate::node::{acknowledge_at_once, settle};

const AUTHORITY: &str = "/usr/sbin/cotter-authority";
const PASSWORD: &str = "correct horse battery";
/// Beside the one that is measured.
const OTHERS: usize = 99;
/// How long an agent lets the authority wait.
const WAIT: Duration = Duration::from_secs(50);

/// The authority, the node, and the others.
pub(crate) struct FollowBench {
    locks: LockBench,
    identity: Identity,
    crowd: Crowd,
    agent: Agent,
    _authority: Authority,
    _sshd: Sshd,
    lab: Lab,
}

impl FollowBench {
    /// Starts all of them, and waits until they follow.
    pub(crate) fn set_up() -> Result<Self> {
        let lab = Lab::start()?;
        acknowledge_at_once(&lab)?;
        AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
        let authority = Authority::start(&lab, "")?;
        let agent = AgentSetup::new("enforce").following(&authority)?.start(&lab)?;
        let sshd = SshdSetup::with_cotter(&authority.ca)?.line(&Authority::trusted_by_sshd()).start(&lab)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        let identity = authority.identity(&lab.alice(), "alice", PASSWORD)?;
        let crowd = Crowd::gather(lab.node(), authority.policy_key()?.parse()?)?;
        eventually("the agent follows", || Ok(version(&agent)?.map(drop)))?;
        let locks = LockBench::of(lab.node())?;
        Ok(Self { locks, identity, crowd, agent, _authority: authority, _sshd: sshd, lab })
    }

    /// Locks alice out at the authority, and takes the lock away again.
    pub(crate) fn round(&self) -> Result<Lock> {
        let node = self.lab.node();
        let login = Login::new(&self.lab.alice(), &self.identity, "alice");
        let session = login.option("-oKexAlgorithms=curve25519-sha256").stay()?;
        let (lock, answer) = self.locks.measure(session, || lock_out(node))?;
        let id = answer["lock"]["id"].as_str().context("a lock without an id")?;
        node.run(AUTHORITY, &["unlock", id])?;
        settle(node)?;
        self.locks.deserted()?;
        eventually("the lock is gone here too", || {
            Ok(self.agent.json(&["locks"])?.as_array().is_some_and(Vec::is_empty).then_some(()))
        })?;
        let version = version(&self.agent)?.context("no policy")?;
        // A crowd that was not there would have cost nothing.
        eventually("the others follow", || Ok(self.crowd.is_at(version).then_some(())))?;
        Ok(lock)
    }
}

/// The version of the policy that an agent goes by.
fn version(agent: &Agent) -> Result<Option<u64>> {
    Ok(agent.json(&["status"])?["following"]["version"].as_u64())
}

/// Runs `cotter-authority lock`; when it was started, and what it said.
fn lock_out(node: &Place) -> Result<(Instant, Value)> {
    let mut command = Place::command(AUTHORITY);
    command.args(["lock", "--user", "alice", "--json"]).stdin(Stdio::null());
    let (start, output) = node.enter(|| (Instant::now(), command.output()))?;
    let output = output?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cotter-authority lock: {}: {complaint}", output.status);
    Ok((start, serde_json::from_slice(&output.stdout)?))
}

/// The others: each waits at the authority as an agent does, by the same code.
struct Crowd {
    ends: Arc<AtomicBool>,
    /// The version that each of them goes by.
    versions: Arc<[AtomicU64]>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    fn gather(node: &Place, key: PolicyKey) -> Result<Self> {
        let (node, ends) = (node.clone(), Arc::new(AtomicBool::new(false)));
        let versions: Arc<[AtomicU64]> = (0..OTHERS).map(|_| AtomicU64::new(0)).collect();
        let (until, seen) = (Arc::clone(&ends), Arc::clone(&versions));
        let thread = std::thread::spawn(move || node.enter(|| follow_all(&key, &seen, &until))?);
        Ok(Self { ends, versions, thread: Some(thread) })
    }

    /// Whether all of them go by this version at least.
    fn is_at(&self, version: u64) -> bool {
        self.versions.iter().all(|seen| seen.load(Ordering::Relaxed) >= version)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // What went wrong there has shown itself: somebody was not at the newest version.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn follow_all(key: &PolicyKey, versions: &Arc<[AtomicU64]>, ends: &AtomicBool) -> Result<()> {
    // One thread: a lab's namespaces take no more of this process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for index in 0..OTHERS {
            tokio::spawn(follow(key.clone(), Arc::clone(versions), index));
        }
        while !ends.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Ok(())
}

async fn follow(key: PolicyKey, versions: Arc<[AtomicU64]>, index: usize) {
    let Ok(place) = format!("https://{NODE_V4}").parse() else { return };
    let (authority, mut after) = (Asked::new(place, Trust::Anyone), 0);
    loop {
        match authority.policy(after, WAIT).await {
            Ok(Some(signed)) => match signed.verify(std::slice::from_ref(&key)) {
                Ok(document) => {
                    after = document.version;
                    versions[index].store(after, Ordering::Relaxed);
                }
                Err(_refused) => return,
            },
            Ok(None) => {}
            Err(_away) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}
