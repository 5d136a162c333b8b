//! While ours goes back to the front, the packets that come in are judged all the time.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_ebpf::{Address, Mode, NEVER, Node, Port, PortClass, Ports, Reason};
use anyhow::{Context, Result, bail, ensure};
use aya::programs::LinkOrder;
use cotter_agent::datapath::{AttachMode, Change, Datapath, KernelLog, Settings, Tables, TcHook};
use cotter_agent::interfaces;
use lab::{ALICE, Lab, NODE_V4, Place, eventually};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::PINS;
use super::decider::{Decider, NEXT};

/// How often ours is overtaken.
const ROUNDS: u32 = 20;

#[test]
fn no_packet_passes_unjudged_while_ours_goes_to_the_front_of_tcx() -> Result<()> {
    all_judged(TcHook::Tcx, |decider| decider.at_tcx(ALICE.device, LinkOrder::first()))
}

#[test]
fn no_packet_passes_unjudged_while_ours_goes_to_the_front_of_clsact() -> Result<()> {
    all_judged(TcHook::Clsact, |decider| decider.at_clsact(ALICE.device, 1))
}

/// Alice, whom ours keeps out, floods the node while ours is overtaken again and again; not one segment comes to TCP.
fn all_judged(hook: TcHook, overtake: impl Fn(&mut Decider) -> Result<()>) -> Result<()> {
    let lab = Lab::start()?;
    let node = lab.node();
    let (mut datapath, tables) = node.enter(|| keeping_out_alice(hook))??;
    let mut decider = Decider::load(node, NEXT)?;
    let interfaces = node.enter(interfaces::list)??;
    let begin = Instant::now();
    let mut rounds = || -> Result<()> {
        let segments = segments(node)?;
        for round in 0..ROUNDS {
            under_flood(&tables)?;
            overtake(&mut decider)?;
            // So long after the last round that the bound on rounds is out of the way.
            let now = begin + Duration::from_secs(3600) * round;
            let changes = node.enter(|| datapath.stay_first(&interfaces, hook, now))?;
            let [Change::Overtaken(_), Change::FirstAgain(_)] = changes[..] else {
                bail!("round {round}: {changes:?}")
            };
        }
        under_flood(&tables)?;
        let passed = self::segments(node)? - segments;
        ensure!(passed == 0, "{passed} segments have passed ours");
        Ok(())
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&lab.alice(), &over));
        let result = rounds();
        over.store(true, Ordering::Relaxed);
        flood.join().unwrap().and(result)
    })
}

fn keeping_out_alice(hook: TcHook) -> Result<(Datapath, Tables)> {
    let settings = Settings {
        pin_dir: PINS.into(),
        max_sessions: 16,
        kernel_log: KernelLog::Off,
        sessions_cgroup: None,
    };
    let (mut datapath, _fresh) = Datapath::open(&settings)?;
    let tables = datapath.tables()?;
    let mut ports = Ports::none();
    ports.set(Port::new(22), PortClass::TCP_LOGIN);
    tables.set_ports(&ports)?;
    tables.set_local(&BTreeSet::from([Address::from(NODE_V4)]))?;
    tables.set_node(&Node::in_mode(Mode::Enforce))?;
    tables.add_penalty(ALICE.v4.into(), NEVER)?;
    let device = interfaces::list()?.into_iter().find(|one| one.name == ALICE.device);
    datapath.attach(&device.context("no such device")?, AttachMode::Tc, hook)?;
    Ok((datapath, tables))
}

/// Waits until many more packets of alice's have been dropped.
fn under_flood(tables: &Tables) -> Result<()> {
    let dropped = || Ok::<_, anyhow::Error>(tables.counters()?.of(Reason::Penalty));
    let enough = dropped()? + 500;
    eventually("a flood from alice", || Ok((dropped()? >= enough).then_some(())))
}

/// Opens connections to the node, one after the other, and waits for no answer.
fn flood(alice: &Place, over: &AtomicBool) -> Result<()> {
    alice.enter(|| {
        while !over.load(Ordering::Relaxed) {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            match connect(&socket, &SocketAddr::from((NODE_V4, 22))) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    })?
}

/// How many segments have come to the node's TCP.
fn segments(node: &Place) -> Result<u64> {
    let counts = node.run("cat", &["/proc/net/snmp"])?;
    let mut lines = counts.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, values) = (lines.next().context("no names")?, lines.next().context("no counts")?);
    let count = names.zip(values).find_map(|(name, value)| (name == "InSegs").then_some(value));
    Ok(count.context("no count of segments")?.parse()?)
}
