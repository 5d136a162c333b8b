//! Programs of others on the same interface go on, and so does ours.

mod decider;
mod no_gap;
mod overtaken;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use agent_ebpf::{NEVER, Reason, SessionId, SessionState};
use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use cotter_agent::datapath::{AttachMode, Datapath, KernelLog, Settings, Tables, TcHook};
use cotter_agent::interfaces;
use lab::kernel::has_tcx;
use lab::{ALICE, ELSEWHERE, Identity, Lab, NODE_V4, Place, counter, eventually, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, text};

const PINS: &str = "/sys/fs/bpf/cotter";

/// How soon a lost attachment must be back: the agent looks every few seconds.
const SOON: Duration = Duration::from_secs(15);

/// A program of somebody else: a second copy of ours below pins of its own, on a node of its own that protects nothing.
/// It counts what it sees.
struct Foreign {
    node: Place,
    datapath: Datapath,
    tables: Tables,
}

impl Foreign {
    fn on(node: &Place, device: &str, hook: TcHook) -> Result<Self> {
        let settings = Settings {
            pin_dir: "/sys/fs/bpf/foreign".into(),
            max_sessions: 16,
            kernel_log: KernelLog::Off,
            sessions_cgroup: None,
        };
        let (datapath, tables) = node.enter(|| -> Result<_> {
            let (mut datapath, _fresh) = Datapath::open(&settings)?;
            let device = interfaces::list()?.into_iter().find(|one| one.name == device);
            datapath.attach(&device.context("no such device")?, AttachMode::Tc, hook)?;
            let tables = datapath.tables()?;
            Ok((datapath, tables))
        })??;
        Ok(Self { node: node.clone(), datapath, tables })
    }

    /// Packets that it has seen.
    fn seen(&self) -> Result<u64> {
        let counters = self.tables.counters()?;
        Ok(Reason::ALL.into_iter().map(|reason| counters.of(reason)).sum())
    }

    #[track_caller]
    fn is_still_attached(&mut self) -> Result<()> {
        let datapath = &mut self.datapath;
        let lost = self.node.enter(|| datapath.verify())??;
        ensure!(lost.is_empty(), "the foreign program is gone");
        Ok(())
    }
}

/// A node with these lines at the top of its agent's configuration.
fn node_with(lab: Lab, lines: &[&str]) -> Result<Scene> {
    let configure = |agent| lines.iter().fold(agent, |agent: lab::AgentSetup, line| agent.line(line));
    Scene::in_lab(lab, "enforce", configure, |sshd| sshd)
}

/// How our programs are attached to a device, as `status` has it.
fn method(scene: &Scene, device: &str) -> Result<Option<String>> {
    let status = scene.agent.json(&["status"])?;
    let attachments = status["attachments"].as_array().context("no list of attachments")?;
    let here = attachments.iter().find(|attachment| attachment["interface"] == device);
    here.map(|here| text(here, "method").map(str::to_owned)).transpose()
}

fn assert_method(scene: &Scene, device: &str, expected: &str) -> Result<()> {
    let method = method(scene, device)?;
    ensure!(method.as_deref() == Some(expected), "{device}: {method:?} instead of {expected}");
    Ok(())
}

fn packets(scene: &Scene, reason: Reason) -> Result<u64> {
    let counts = counter::packets(scene.lab.node())?;
    Ok(counts.into_iter().find(|(counted, _)| *counted == reason).map_or(0, |(_, packets)| packets))
}

/// Alice logs in and works; then the kernel alone is told that her session is cut, and drops what she sends. What
/// `beside` counts meanwhile are packets before the cut, and after it.
fn judged(scene: &Scene, alice: &Identity, beside: impl Fn() -> Result<u64>) -> Result<(u64, u64)> {
    let begin = beside()?;
    let pinned = packets(scene, Reason::Pinned)?;
    let mut session = scene.at_alice(alice).stay()?;
    ensure!(packets(scene, Reason::Pinned)? > pinned, "no packet of hers was judged");

    let listed = scene.session_of("alice")?;
    let id = text(&listed, "id")?;
    let before = beside()?;
    let tables = scene.lab.node().enter(|| Tables::open(PINS.as_ref()))??;
    let number = SessionId::new(u64::from_str_radix(id, 16)?);
    let kernel = tables.session(number)?.context("the session is not in the kernel")?;
    tables.update_session(number, &kernel.with_state(SessionState::Cut))?;
    let dropped = packets(scene, Reason::SessionCut)?;
    session.send("still here")?;
    eventually("several packets of hers are dropped", || {
        let more = packets(scene, Reason::SessionCut)? >= dropped + 3;
        Ok((more && counter::dropped_of_session(scene.lab.node(), id)? >= 3).then_some(()))
    })?;
    ensure!(session.hear(Duration::ZERO)?.is_none(), "something came back");
    let after = beside()?;

    scene.agent.told(&["cut", id])?;
    within(Duration::from_secs(5), "her client notices", || session.ended())?;
    scene.deserted()?;
    Ok((before - begin, after - before))
}

fn judged_alone(attach: &[&str], expected: &str) -> Result<()> {
    let scene = node_with(Lab::start()?, attach)?;
    assert_method(&scene, ALICE.device, expected)?;
    judged(&scene, &scene.alice()?, || Ok(0)).map(drop)
}

#[test]
fn xdp_in_the_stack_judges_and_drops() -> Result<()> {
    judged_alone(&[r#"attach = "xdp-generic""#], "xdp-generic")
}

#[test]
fn tcx_judges_and_drops() -> Result<()> {
    judged_alone(&[r#"attach = "tc""#, r#"tc_hook = "tcx""#], "tcx")
}

#[test]
fn clsact_judges_and_drops() -> Result<()> {
    judged_alone(&[r#"attach = "tc""#, r#"tc_hook = "clsact""#], "clsact")
}

#[test]
fn beside_xdp_filter_ours_goes_to_tc_and_both_do_their_work() -> Result<()> {
    let lab = Lab::start()?;
    lab.node().run("xdp-filter", &["load", "--mode", "native", ALICE.device])?;
    let scene = node_with(lab, &[])?;
    let tc = if has_tcx()? { "tcx" } else { "clsact" };
    assert_method(&scene, ALICE.device, tc)?;
    assert_method(&scene, ELSEWHERE.device, "xdp")?;
    let alice = scene.alice()?;
    let (before, after) = judged(&scene, &alice, || passed_by_xdp_filter(scene.lab.node()))?;
    assert!(before > 10, "xdp-filter has counted only {before} packets of a login");
    assert!(after >= 3, "xdp-filter comes first and sees what ours drops, but only {after} packets");

    scene.lab.node().run("xdp-filter", &["unload", ALICE.device])?;
    judged(&scene, &alice, || Ok(0))?;
    assert_method(&scene, ALICE.device, tc)
}

/// The packets that xdp-filter says it let pass.
fn passed_by_xdp_filter(node: &Place) -> Result<u64> {
    let status = node.run("xdp-filter", &["status"])?;
    let line = status.lines().find(|line| line.trim_start().starts_with("XDP_PASS"));
    let count = line.and_then(|line| line.split_whitespace().nth(1));
    count.with_context(|| status.clone())?.parse().context(status)
}

#[test]
fn xdp_programs_that_come_later_do_not_replace_ours() -> Result<()> {
    let scene = Scene::enforcing()?;
    let node = scene.lab.node();
    assert_method(&scene, ALICE.device, "xdp")?;
    let ours = xdp_program(node, ALICE.device)?;
    let filter = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o";
    for command in [
        &["xdp-filter", "load", "--mode", "native", ALICE.device][..],
        &["xdp-filter", "load", "--mode", "skb", ALICE.device],
        &["xdp-loader", "load", ALICE.device, filter],
        &["xdp-loader", "unload", "--all", ALICE.device],
        &["ip", "link", "set", "dev", ALICE.device, "xdp", "off"],
        &["ip", "-force", "link", "set", "dev", ALICE.device, "xdpdrv", "off"],
        &["bpftool", "net", "detach", "xdp", "dev", ALICE.device],
    ] {
        let refused = node.run(command[0], &command[1..]);
        println!(
            "{}: {}",
            command.join(" "),
            refused.map_or_else(|error| error.to_string(), |said| format!("done: {said}"))
        );
        assert_eq!(xdp_program(node, ALICE.device)?, ours, "{command:?}");
    }
    judged(&scene, &scene.alice()?, || Ok(0))?;
    let lost = scene.agent.events()?.into_iter().find(|event| event["event"] == "attachment_lost");
    assert_eq!(lost, None);
    Ok(())
}

/// The id of the XDP program that a device runs.
fn xdp_program(node: &Place, device: &str) -> Result<u64> {
    let devices: Value = serde_json::from_str(&node.run("ip", &["-json", "link", "show", device])?)?;
    devices[0]["xdp"]["prog"]["id"].as_u64().context("no XDP program")
}

#[test]
fn ours_comes_before_a_foreign_tcx_program_which_goes_on() -> Result<()> {
    let lab = Lab::start()?;
    let mut foreign = Foreign::on(lab.node(), ALICE.device, TcHook::Tcx)?;
    let scene = node_with(lab, &[r#"attach = "tc""#])?;
    assert_method(&scene, ALICE.device, "tcx")?;

    let in_line = scene.lab.node().enter(|| -> Result<Vec<u32>> {
        let (_revision, programs) = SchedClassifier::query_tcx(ALICE.device, TcAttachType::Ingress)?;
        Ok(programs.iter().map(|program| program.id()).collect())
    })??;
    let (ours, theirs) = (pinned_program(&scene, PINS)?, pinned_program(&scene, "/sys/fs/bpf/foreign")?);
    assert_eq!(in_line, [ours, theirs]);
    let (before, after) = judged(&scene, &scene.alice()?, || foreign.seen())?;
    assert!(before > 10, "the foreign program has seen only {before} packets of a login");
    assert!(after <= 2, "the foreign program has seen {after} packets that ours dropped before");
    foreign.is_still_attached()
}

/// The id of the TC program pinned below a pin directory.
fn pinned_program(scene: &Scene, pins: &str) -> Result<u32> {
    let pin = format!("{pins}/v{}/prog_cotter_tc", agent_ebpf::ABI_VERSION);
    let program = scene.lab.node().run("bpftool", &["-j", "prog", "show", "pinned", &pin])?;
    let program: Value = serde_json::from_str(&program)?;
    Ok(u32::try_from(program["id"].as_u64().context("no id")?)?)
}

/// A filter that takes every packet, counts it and mirrors it to a device that nobody listens to.
fn mirror(node: &Place, device: &str, priority: &str, then: &str) -> Result<()> {
    node.run("tc", &["qdisc", "replace", "dev", device, "clsact"])?;
    let filter =
        ["filter", "add", "dev", device, "ingress", "pref", priority, "u32", "match", "u32", "0", "0"];
    let action = ["action", "mirred", "egress", "mirror", "dev", "spare", then];
    node.run("tc", &[&filter[..], &action].concat()).map(drop)
}

/// The packets that the mirror's action has counted.
fn mirrored(node: &Place, device: &str) -> Result<u64> {
    let filters = node.run("tc", &["-s", "filter", "show", "dev", device, "ingress"])?;
    let line = filters.lines().find(|line| line.trim_start().starts_with("Sent "));
    let count = line.and_then(|line| line.split_whitespace().nth(3));
    count.with_context(|| filters.clone())?.parse().context(filters)
}

#[test]
fn ours_comes_before_foreign_filters_at_clsact_which_go_on_with_and_without_it() -> Result<()> {
    let lab = Lab::start()?;
    lab.node().run("ip", &["link", "add", "spare", "type", "veth", "peer", "name", "unused"])?;
    mirror(lab.node(), ALICE.device, "7", "pipe")?;
    // Of another kind than ours, so it keeps its place in front; it leaves the decision to those behind it.
    mirror(lab.node(), ELSEWHERE.device, "1", "continue")?;
    let mut foreign = Foreign::on(lab.node(), ALICE.device, TcHook::Clsact)?;
    let scene = node_with(lab, &[r#"attach = "tc""#, r#"tc_hook = "clsact""#])?;
    let node = scene.lab.node();
    assert_method(&scene, ALICE.device, "clsact")?;
    assert_method(&scene, ELSEWHERE.device, "clsact")?;

    let at_mirror = mirrored(node, ALICE.device)?;
    let (before, after) = judged(&scene, &scene.alice()?, || foreign.seen())?;
    assert!(before > 10, "the foreign program has seen only {before} packets of a login");
    assert!(after <= 2, "the foreign program has seen {after} packets that ours dropped before");
    assert!(mirrored(node, ALICE.device)? > at_mirror + 10, "the mirror has stopped counting");

    let bob = scene.bob()?;
    let attempts = packets(&scene, Reason::LoginAttempt)?;
    let at_mirror = mirrored(node, ELSEWHERE.device)?;
    scene.at_elsewhere(&bob).succeed("true")?;
    assert!(packets(&scene, Reason::LoginAttempt)? > attempts);
    assert!(mirrored(node, ELSEWHERE.device)? > at_mirror + 10);

    // Ours goes; theirs and the qdisc stay.
    let config = node.read("/etc/cotter/agent.toml")?;
    let without = config.replace(&format!("\"{}\", ", ALICE.device), "");
    assert_ne!(config, without);
    node.write("/etc/cotter/agent.toml", &without)?;
    scene.agent.signal(Signal::HUP)?;
    eventually("ours is detached", || Ok(method(&scene, ALICE.device)?.is_none().then_some(())))?;
    let (at_mirror, at_foreign) = (mirrored(node, ALICE.device)?, foreign.seen()?);
    scene.at_alice(&bob).succeed("true")?;
    assert!(mirrored(node, ALICE.device)? > at_mirror + 10);
    assert!(foreign.seen()? > at_foreign + 10);
    foreign.is_still_attached()
}

/// Somebody takes our program off alice's wire in each of these ways, and each time it is told and comes back.
fn comes_back(scene: &Scene, expected: &str, ways: &[&str]) -> Result<()> {
    let alice = scene.alice()?;
    for way in ways {
        let before = [told(scene, "attachment_lost")?, told(scene, "attached")?];
        scene.lab.node().run("sh", &["-ec", way])?;
        within(SOON, way, || {
            let now = [told(scene, "attachment_lost")?, told(scene, "attached")?];
            Ok((now[0] > before[0] && now[1] > before[1]).then_some(()))
        })?;
        assert_method(scene, ALICE.device, expected).context((*way).to_owned())?;
        judged(scene, &alice, || Ok(0)).context((*way).to_owned())?;
    }
    Ok(())
}

/// How often the audit log has told this of alice's wire.
fn told(scene: &Scene, what: &str) -> Result<usize> {
    let events = scene.agent.events()?;
    let about = |event: &&Value| event["event"] == what && event["interface"] == ALICE.device;
    Ok(events.iter().filter(about).count())
}

#[test]
fn a_lost_xdp_program_is_told_and_comes_back() -> Result<()> {
    comes_back(&Scene::enforcing()?, "xdp", &[DETACH, DETACH])
}

#[test]
fn a_lost_tcx_program_is_told_and_comes_back() -> Result<()> {
    let scene = node_with(Lab::start()?, &[r#"attach = "tc""#])?;
    comes_back(&scene, "tcx", &[DETACH, DETACH])
}

/// The one way to take off what hangs on a link.
const DETACH: &str = "index=$(ip -o link show eth-alice | cut -d: -f1)
    bpftool link detach pinned /sys/fs/bpf/cotter/v*/link_cotter_*_$index";

#[test]
fn a_lost_filter_is_told_and_comes_back() -> Result<()> {
    let scene = node_with(Lab::start()?, &[r#"attach = "tc""#, r#"tc_hook = "clsact""#])?;
    comes_back(
        &scene,
        "clsact",
        &["tc filter del dev eth-alice ingress", "tc qdisc del dev eth-alice clsact"],
    )
}

#[test]
fn a_device_that_goes_and_comes_back_is_covered_again() -> Result<()> {
    let scene = Scene::enforcing()?;
    let rewire = "ip link del eth-alice
        ip link add eth-alice type veth peer name eth0 netns alice
        ip address add 198.51.111.254/24 dev eth-alice
        ip link set eth-alice up
        ip -n alice address add 198.51.111.1/24 dev eth0
        ip -n alice link set eth0 up
        ip -n alice route add default via 198.51.111.254";
    comes_back(&scene, "xdp", &[rewire, rewire])
}

#[test]
fn a_device_on_top_of_a_covered_one_is_judged() -> Result<()> {
    let scene = Scene::enforcing()?;
    let on_top = "ip link add link eth-alice name upper type macvlan mode bridge
        ip address add 198.51.77.254/24 dev upper
        ip link set upper up
        ip -n alice address add 198.51.77.1/24 dev eth0";
    scene.lab.node().run("sh", &["-ec", on_top])?;
    let seen = || anyhow::Ok([packets(&scene, Reason::LoginAttempt)?, packets(&scene, Reason::Pinned)?]);
    eventually("the agent knows the new address", || {
        let tables = scene.lab.node().enter(|| Tables::open(PINS.as_ref()))??;
        Ok(tables.local()?.contains(&Ipv4Addr::new(198, 51, 77, 254).into()).then_some(()))
    })?;
    let before = seen()?;
    let login = scene.at_alice(&scene.bob()?).to([198, 51, 77, 254].into());
    assert_eq!(login.succeed("echo ${SSH_CLIENT%% *}")?, "198.51.77.1\n");
    let after = seen()?;
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    Ok(())
}

#[test]
fn a_penalty_keeps_out_new_connections_of_its_address_and_stalls_no_open_one() -> Result<()> {
    let scene = Scene::enforcing()?;
    let (host, sshd) = (scene.lab.elsewhere(), SocketAddr::from((NODE_V4, 22)));
    let limit = Duration::from_secs(10);
    let mut open = host.enter(|| TcpStream::connect_timeout(&sshd, limit))??;
    open.set_read_timeout(Some(limit))?;
    let mut heard = [0; 4];
    open.read_exact(&mut heard)?;
    assert_eq!(&heard, b"SSH-");

    let tables = scene.lab.node().enter(|| Tables::open(PINS.as_ref()))??;
    tables.add_penalty(ELSEWHERE.v4.into(), NEVER)?;
    let refused = host.enter(|| TcpStream::connect_timeout(&sshd, Duration::from_secs(2)))?;
    assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::TimedOut));
    assert!(packets(&scene, Reason::Penalty)? > 0);

    // The one in the middle of its login goes on: sshd hears the client's version and answers with its algorithms.
    open.write_all(b"SSH-2.0-neighbour\r\n")?;
    let mut answer = Vec::new();
    while !contains(&answer, b"curve25519-sha256") {
        let mut piece = [0; 4096];
        let length = open.read(&mut piece)?;
        ensure!(length > 0, "sshd has hung up");
        answer.extend_from_slice(&piece[..length]);
    }
    Ok(())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
