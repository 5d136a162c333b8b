//! Gates: the node's own services answer where a session is, as long as it is used, and nowhere else.

mod holders;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{AgentSetup, ELSEWHERE, Identity, NODE_V4, NODE_V6, Order, Place, Process, eventually};
use serde_json::Value;

use crate::scene::{AT_ALICE, Scene, text};

/// Open to every pinned session.
const WEB: u16 = 8_443;
/// Open to those of one role.
const DATABASE: u16 = 5_432;
const GATES: &str = "\n[[gate]]\nports = [8443]\n\n[[gate]]\nports = [\"5430-5435\"]\nroles = [\"keeper\"]\n";
/// Names the role.
const KEEPER: &str = r#"extension:roles@cotter=["keeper"]"#;
/// What does not answer by then does not answer.
const NEVER: Duration = Duration::from_millis(700);

/// A node whose services are behind gates.
struct Gated {
    scene: Scene,
    _services: Vec<Process>,
}

impl Gated {
    fn new() -> Result<Self> {
        Self::with("enforce", |agent| agent.last(GATES))
    }

    fn with(mode: &str, agent: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Self> {
        let agent = |setup: AgentSetup| agent(setup.role("keeper", &["pin_source_ip: true"]));
        let scene = Scene::new(mode, agent, |sshd| sshd)?;
        let services = [WEB, DATABASE].map(|port| serve(scene.lab.node(), port));
        let gated = Self { scene, _services: services.into_iter().collect::<Result<_>>()? };
        for port in [WEB, DATABASE] {
            eventually("the service listens", || Ok(reaches(gated.scene.lab.node(), port)?.then_some(())))?;
        }
        Ok(gated)
    }

    /// Another certificate of alice's, for a role and pinned to an address.
    fn alice_as(&self, role: &str, pin: &str) -> Result<Identity> {
        self.scene
            .ca
            .issue("alice-too", &Order { options: &[role], ..Order::login("alice", &["alice"]) }.pinned(pin))
    }

    /// Waits until a gate is open to alice.
    fn opens_to_alice(&self, port: u16) -> Result<()> {
        eventually("the gate opens to alice", || Ok(reaches(&self.scene.lab.alice(), port)?.then_some(())))
    }

    /// Waits until a gate is shut to alice.
    fn shuts_to_alice(&self, port: u16) -> Result<()> {
        eventually("the gate shuts", || Ok((!reaches(&self.scene.lab.alice(), port)?).then_some(())))
    }

    /// Asserts that a port answers nobody.
    fn answers_nobody(&self, port: u16) -> Result<()> {
        for place in [self.scene.lab.alice(), self.scene.lab.elsewhere()] {
            ensure!(!reaches(&place, port)?, "port {port} answers {}", place.name());
        }
        Ok(())
    }

    /// Packets that were dropped for want of a grant.
    fn dropped(&self) -> Result<u64> {
        let status = self.scene.agent.json(&["status"])?;
        let packets = status["packets"].as_array().cloned().unwrap_or_default();
        let count = packets.iter().find(|count| count["reason"] == "no_grant");
        Ok(count.and_then(|count| count["packets"].as_u64()).unwrap_or_default())
    }

    /// What `explain` says of a packet to the database.
    fn explained(&self, from: IpAddr) -> Result<Value> {
        let from = SocketAddr::new(from, 40_000).to_string();
        self.scene.agent.json(&["explain", "--from", &from, "--to", &format!("{NODE_V4}:{DATABASE}")])
    }
}

/// A service of the node's own, on both families.
fn serve(node: &Place, port: u16) -> Result<Process> {
    let mut server = Place::command("python3");
    server.args(["-m", "http.server", "--bind", "::", "--directory", "/usr/share/doc", &port.to_string()]);
    node.spawn(server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()))
}

/// Whether a port of the node's answers.
fn reaches(from: &Place, port: u16) -> Result<bool> {
    connects(from, NODE_V4.into(), port)
}

fn connects(from: &Place, to: IpAddr, port: u16) -> Result<bool> {
    let to = SocketAddr::new(to, port);
    from.enter(|| TcpStream::connect_timeout(&to, NEVER).is_ok())
}

#[test]
fn a_gate_opens_where_a_pinned_session_is_and_shuts_with_it() -> Result<()> {
    let gated = Gated::new()?;
    gated.answers_nobody(WEB)?;
    let mut session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    gated.opens_to_alice(WEB)?;
    ensure!(!reaches(&gated.scene.lab.elsewhere(), WEB)?, "it opens to others");
    // Nobody was seen at this address, whatever else is hers.
    ensure!(!connects(&gated.scene.lab.alice(), NODE_V6.into(), WEB)?, "it opens to another address of hers");
    session.hang_up()?;
    gated.shuts_to_alice(WEB)
}

#[test]
fn gates_open_by_role() -> Result<()> {
    let gated = Gated::new()?;
    let _session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    gated.opens_to_alice(WEB)?;
    gated.answers_nobody(DATABASE)?;
    let why = gated.explained(lab::ALICE.v4.into())?;
    assert_eq!(why["reason"], "no_grant");
    let text = why["why"].as_str().unwrap_or_default();
    ensure!(text.contains("has none of the roles that open it"), "{why}");

    let _keeper = gated.scene.at_alice(&gated.alice_as(KEEPER, AT_ALICE)?).stay()?;
    gated.opens_to_alice(DATABASE)?;
    assert_eq!(gated.explained(lab::ALICE.v4.into())?["reason"], "granted");
    let stranger = gated.explained(ELSEWHERE.v4.into())?;
    assert_eq!((&stranger["reason"], &stranger["action"]), (&"no_grant".into(), &"drop".into()));
    Ok(())
}

#[test]
fn sessions_that_are_not_pinned_open_nothing() -> Result<()> {
    let gated = Gated::new()?;
    let mut session = gated.scene.at_alice(&gated.scene.bob()?).stay()?;
    ensure!(session.echoes("in", Duration::from_secs(20))?, "bob is not in");
    gated.answers_nobody(WEB)
}

#[test]
fn a_dead_agent_opens_and_shuts_no_gate_for_others() -> Result<()> {
    let mut gated = Gated::new()?;
    let mut session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    gated.opens_to_alice(WEB)?;
    gated.scene.agent.kill9()?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "it shuts with the agent");
    ensure!(!reaches(&gated.scene.lab.elsewhere(), WEB)?, "it opens with the agent gone");
    session.hang_up()?;
    gated.shuts_to_alice(WEB)
}

#[test]
fn the_next_agent_goes_on_with_the_grants() -> Result<()> {
    let mut gated = Gated::new()?;
    let mut session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    gated.opens_to_alice(WEB)?;
    gated.scene.agent.kill9()?;
    gated.scene.agent.start()?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "it shuts with the new agent");
    assert_eq!(gated.scene.agent.json(&["status"])?["grants"], 1);
    session.hang_up()?;
    gated.shuts_to_alice(WEB)?;
    eventually(
        "the grant is gone",
        || Ok((gated.scene.agent.json(&["status"])?["grants"] == 0).then_some(())),
    )
}

#[test]
fn a_process_that_is_left_behind_keeps_no_gate_open() -> Result<()> {
    let gated = Gated::new()?;
    let alice = gated.scene.alice()?;
    let leaves = "setsid sh -c 'echo left; exec sleep infinity >/dev/null 2>&1' </dev/null & exec cat";
    let mut session = gated.scene.at_alice(&alice).run_at_terminal(leaves)?;
    session.hears("left", Duration::from_secs(60))?;
    gated.opens_to_alice(WEB)?;
    session.hang_up()?;
    eventually("the connection is closed", || {
        Ok((gated.scene.session_of("alice")?["flows"] == 0).then_some(()))
    })?;
    let mut dropped = gated.dropped()?;
    gated.answers_nobody(WEB)?;
    dropped = gated.dropped()? - dropped;
    ensure!(dropped >= 2, "{dropped} packets were dropped for want of a grant");
    Ok(())
}

#[test]
fn a_cut_and_an_end_shut_gates_at_once() -> Result<()> {
    let gated = Gated::new()?;
    let alice = gated.scene.alice()?;
    let _session = gated.scene.at_alice(&alice).stay()?;
    gated.opens_to_alice(WEB)?;
    gated.scene.agent.told(&["lock", "--user", "example.com/alice"])?;
    gated.answers_nobody(WEB)?;
    gated.scene.deserted()?;

    let order =
        Order { options: &[crate::scene::ENDING], validity: "-1m:+8s", ..Order::login("alice", &["alice"]) };
    let locks = gated.scene.agent.json(&["locks"])?;
    gated.scene.agent.told(&["unlock", text(&locks[0], "id")?])?;
    let brief = gated.scene.ca.issue("alice-in-haste", &order.pinned(AT_ALICE))?;
    let _session = gated.scene.at_alice(&brief).stay()?;
    gated.opens_to_alice(WEB)?;
    gated.shuts_to_alice(WEB)
}

#[test]
fn audit_counts_what_a_gate_would_drop() -> Result<()> {
    let gated = Gated::with("audit", |agent| agent.last(GATES))?;
    let overruled = || -> Result<u64> {
        let status = gated.scene.agent.json(&["status"])?;
        let packets = status["packets"].as_array().cloned().unwrap_or_default();
        let count = packets.iter().find(|count| count["reason"] == "no_grant");
        Ok(count.and_then(|count| count["overruled"].as_u64()).unwrap_or_default())
    };
    let before = overruled()?;
    ensure!(reaches(&gated.scene.lab.elsewhere(), WEB)?, "audit has dropped something");
    ensure!(overruled()? > before, "nothing was counted");
    Ok(())
}

#[test]
fn gates_come_and_go_with_a_reload_and_sessions_that_are_there_open_them() -> Result<()> {
    const CONFIG: &str = "/etc/cotter/agent.toml";
    let gated = Gated::with("enforce", |agent| agent)?;
    let node = gated.scene.lab.node();
    let reload = |text: &str| -> Result<()> {
        let mark = gated.scene.agent.mark()?;
        node.write(CONFIG, text)?;
        gated.scene.agent.signal(rustix::process::Signal::HUP)?;
        let reloaded = gated.scene.agent.event_since(mark, "a reload", |event| {
            event["event"] == "reloaded" || event["event"] == "reload_failed"
        })?;
        ensure!(reloaded["event"] == "reloaded", "{reloaded}");
        Ok(())
    };
    let _session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    ensure!(reaches(&gated.scene.lab.elsewhere(), WEB)?, "there is a gate already");
    let without = node.read(CONFIG)?;
    reload(&format!("{without}{GATES}"))?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "a session that was there opens nothing");
    ensure!(!reaches(&gated.scene.lab.elsewhere(), WEB)?, "the gate is open to others");
    // Another order gives the gates other numbers.
    let (web, database) = GATES.split_at(GATES.rfind("\n[[gate]]").unwrap_or_default());
    reload(&format!("{without}{database}{web}"))?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "the gate is shut under its new number");
    ensure!(!reaches(&gated.scene.lab.alice(), DATABASE)?, "it took another's number");
    reload(&without)?;
    ensure!(reaches(&gated.scene.lab.elsewhere(), WEB)?, "a gate that is gone still drops");
    Ok(())
}

#[test]
fn datagrams_to_everybody_on_the_wire_come_through_no_gate() -> Result<()> {
    const PORT: u16 = 5_353;
    let gated =
        Gated::with("enforce", |agent| agent.last("\n[[gate]]\nports = [5353]\nprotocol = \"udp\"\n"))?;
    let (node, elsewhere) = (gated.scene.lab.node(), gated.scene.lab.elsewhere());
    let service = node.enter(|| UdpSocket::bind(("0.0.0.0", PORT)))??;
    service.set_read_timeout(Some(NEVER))?;
    let stranger = elsewhere.enter(|| UdpSocket::bind(("0.0.0.0", 0)))??;
    stranger.set_broadcast(true)?;
    let mut buffer = [0; 16];
    for to in [Ipv4Addr::new(198, 51, 222, 255), Ipv4Addr::BROADCAST, NODE_V4] {
        stranger.send_to(b"hello", (to, PORT))?;
        ensure!(service.recv(&mut buffer).is_err(), "what was sent to {to} has come in");
    }
    // Alice's do, once she is in.
    let _session = gated.scene.at_alice(&gated.scene.alice()?).stay()?;
    let alice = gated.scene.lab.alice().enter(|| UdpSocket::bind(("0.0.0.0", 0)))??;
    eventually("alice's datagram comes in", || {
        alice.send_to(b"hello", (NODE_V4, PORT))?;
        Ok(service.recv(&mut buffer).is_ok().then_some(()))
    })
}
