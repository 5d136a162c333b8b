//! What a session opens for others to reach, mosh's port, a forwarded listener, a server: its pin holds there too.

mod account;
mod clients;
mod networks;
mod programs;
mod web;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{ALICE, AgentSetup, ELSEWHERE, Identity, NODE_V4, NODE_V6, Order, Place, Session, eventually};
use serde_json::Value;

use crate::scene::{AT_ALICE, PINNING, Scene, text};

/// What comes at all has come by then, on the slowest of machines.
const SOON: Duration = Duration::from_secs(60);
/// What is to be dropped is waited for no longer.
const NEVER: Duration = Duration::from_millis(400);
const SERVER: &str = "/usr/local/lib/server.py";
const UDP: u16 = 60_001;
const TCP: u16 = 8_080;
/// Names a role whose sessions' listeners are held too.
const HOLDING: &str = r#"extension:roles@cotter=["holding"]"#;
/// Names a role whose sessions' endpoints are not held.
const LETTING: &str = r#"extension:roles@cotter=["letting"]"#;

/// A node with servers to start.
struct Endpoints {
    scene: Scene,
}

impl Endpoints {
    fn new() -> Result<Self> {
        Self::with(|agent| agent)
    }

    fn with(agent: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Self> {
        let scene = Scene::new(
            "enforce",
            |setup| {
                agent(setup)
                    .role("holding", &["pin_source_ip: true", "pin_endpoints: all"])
                    .role("letting", &["pin_source_ip: true", "pin_endpoints: \"off\""])
            },
            |sshd| sshd.line("GatewayPorts clientspecified"),
        )?;
        scene.lab.node().write(SERVER, include_str!("endpoints/server.py"))?;
        Ok(Self { scene })
    }

    /// Alice's certificate for a role, pinned to where she is.
    fn alice_as(&self, role: &str) -> Result<Identity> {
        let order = Order { options: &[role], ..Order::login("alice", &["alice"]) };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("alice-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.scene.ca.issue(&name, &order.pinned(AT_ALICE))
    }

    /// A login of alice's that runs a server.
    fn serve(&self, alice: &Identity, arguments: &str) -> Result<(Session, u16)> {
        let login = self.scene.at_alice(alice);
        let mut session = login.run_at_terminal(&format!("exec /usr/bin/python3 {SERVER} {arguments}"))?;
        let port = session.hears("\n", SOON)?;
        let port = port.trim().parse().with_context(|| port.clone())?;
        Ok((session, port))
    }

    /// The same as a process that outlives its connection.
    fn leave(&self, alice: &Identity, arguments: &str, port: u16) -> Result<()> {
        let command = format!("setsid /usr/bin/python3 {SERVER} {arguments} </dev/null >/dev/null 2>&1 &");
        self.scene.at_alice(alice).succeed(&command)?;
        self.lists("udp", port)?;
        eventually("the connection is closed", || Ok((self.session()?["flows"] == 0).then_some(())))
    }

    /// A server of alice's is held, at the latest in a while.
    fn only_pinned_servers(&self) -> Result<()> {
        let alice = self.alice_as(PINNING)?;
        eventually("a server of alice's is held", || {
            let (_server, port) = self.serve(&alice, "udp 0")?;
            Ok(self.only_alice_reaches(port).ok())
        })
    }

    /// Packets that the kernel has dropped at the socket of a UDP port (proc(5), `drops`).
    fn dropped_at_socket(&self, port: u16) -> Result<u64> {
        let sockets = self.scene.lab.node().run("cat", &["/proc/net/udp"])?;
        let end = format!(":{port:04X}");
        let line = sockets
            .lines()
            .find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&end)));
        let drops = line.and_then(|line| line.split_whitespace().last()).context("no such socket")?;
        Ok(drops.parse()?)
    }

    fn session(&self) -> Result<Value> {
        self.scene.session_of("alice")
    }

    /// Waits until alice's session lists an endpoint.
    fn lists(&self, protocol: &str, port: u16) -> Result<()> {
        let is = |endpoint: &Value| {
            let local = endpoint["local"].as_str().and_then(|local| local.parse::<SocketAddr>().ok());
            endpoint["protocol"] == protocol && local.is_some_and(|local| local.port() == port)
        };
        eventually(&format!("an endpoint {protocol}/{port}"), || {
            let session = self.session()?;
            Ok(session["endpoints"].as_array().is_some_and(|all| all.iter().any(is)).then_some(()))
        })
    }

    /// Asserts who reaches a UDP port of the node's.
    fn only_alice_reaches(&self, port: u16) -> Result<()> {
        ensure!(
            datagram_comes_back(&self.scene.lab.alice(), (NODE_V4, port), SOON)?,
            "alice does not reach it"
        );
        ensure!(
            !datagram_comes_back(&self.scene.lab.elsewhere(), (NODE_V4, port), NEVER)?,
            "a stranger does"
        );
        Ok(())
    }

    /// Asserts that nobody reaches a UDP port of the node's.
    fn nobody_reaches(&self, port: u16) -> Result<()> {
        for place in [self.scene.lab.alice(), self.scene.lab.elsewhere()] {
            ensure!(!datagram_comes_back(&place, (NODE_V4, port), NEVER)?, "{} reaches it", place.name());
        }
        Ok(())
    }
}

/// Whether a datagram to a server at the node is answered, from a place and an address of that place's family.
fn datagram_comes_back(from: &Place, to: (impl Into<IpAddr>, u16), limit: Duration) -> Result<bool> {
    let to = SocketAddr::new(to.0.into(), to.1);
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let socket = from.enter(|| UdpSocket::bind(any))??;
    comes_back(&socket, to, limit)
}

/// The same from a socket.
fn comes_back(socket: &UdpSocket, to: SocketAddr, limit: Duration) -> Result<bool> {
    socket.send_to(b"word", to)?;
    socket.set_read_timeout(Some(limit))?;
    match socket.recv(&mut [0; 8]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a line to a TCP server at the node comes back.
fn line_comes_back(from: &Place, port: u16, limit: Duration) -> Result<bool> {
    line_to_comes_back(from, (NODE_V4, port).into(), limit)
}

/// The same of a server anywhere.
fn line_to_comes_back(from: &Place, to: SocketAddr, limit: Duration) -> Result<bool> {
    let connected = from.enter(|| TcpStream::connect_timeout(&to, limit))?;
    let Ok(mut stream) = connected else { return Ok(false) };
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"word")?;
    Ok(stream.read_exact(&mut [0; 4]).is_ok())
}

#[test]
fn a_udp_server_of_a_session_is_reached_from_its_pin_alone() -> Result<()> {
    let node = Endpoints::new()?;
    let alice = node.scene.alice()?;
    let (_server, port) = node.serve(&alice, &format!("udp {UDP}"))?;
    node.lists("udp", port)?;
    let mark = node.scene.agent.mark()?;
    node.only_alice_reaches(port)?;
    for (place, action, reason) in [(ALICE, "pass", "pinned"), (ELSEWHERE, "drop", "address_mismatch")] {
        let (from, to) = (format!("{}:5000", place.v4), format!("{NODE_V4}:{port}"));
        let explained =
            node.scene.agent.json(&["explain", "--from", &from, "--to", &to, "--proto", "udp"])?;
        assert_eq!(
            (&explained["action"], &explained["reason"]),
            (&action.into(), &reason.into()),
            "{explained}"
        );
        assert_eq!(explained["session"], node.session()?["id"], "{explained}");
    }
    let session = node.session()?;
    let dropped = |event: &Value| event["event"] == "packets_dropped" && event["session"] == session["id"];
    let event = node.scene.agent.event_since(mark, "the drop is told", dropped)?;
    assert_eq!(event["reason"], "address_mismatch");
    assert!(node.session()?["dropped"].as_u64() >= Some(1));
    // Its peers at home are not harmed by how often others come.
    for _ in 0..50 {
        node.only_alice_reaches(port).context("again and again")?;
        if node.session()?["dropped"].as_u64() > Some(20) {
            break;
        }
        for _ in 0..5 {
            datagram_comes_back(&node.scene.lab.elsewhere(), (NODE_V4, port), Duration::from_millis(1))?;
        }
    }
    Ok(())
}

#[test]
fn who_comes_again_is_dropped_by_the_device() -> Result<()> {
    const PACKETS: u64 = 100;
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP}"))?;
    node.only_alice_reaches(port)?;
    let dropped = || -> Result<u64> { node.session()?["dropped"].as_u64().context("no count of drops") };
    let (before, before_at_socket) = (dropped()?, node.dropped_at_socket(port)?);
    let stranger = node.scene.lab.elsewhere().enter(|| UdpSocket::bind((ELSEWHERE.v4, 5_000)))??;
    for _ in 0..PACKETS {
        stranger.send_to(b"word", (NODE_V4, port))?;
    }
    eventually("all of it is dropped", || Ok((dropped()? >= before + PACKETS).then_some(())))?;
    let at_socket = node.dropped_at_socket(port)? - before_at_socket;
    assert!((1..PACKETS / 2).contains(&at_socket), "{at_socket} of {PACKETS} packets came to the socket");
    node.only_alice_reaches(port)
}

#[test]
fn a_server_of_both_families_is_held_to_a_pin_of_one() -> Result<()> {
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP} 6"))?;
    ensure!(
        !datagram_comes_back(&node.scene.lab.alice(), (NODE_V6, port), NEVER)?,
        "no pin of IPv6, but reached"
    );
    node.only_alice_reaches(port)
}

#[test]
fn a_server_of_udp_lite_is_held_like_one_of_udp() -> Result<()> {
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP} lite"))?;
    let answered = |from: &Place, seconds: &str| -> Result<bool> {
        let arguments = [SERVER, "lite", &NODE_V4.to_string(), &port.to_string(), seconds];
        Ok(from.output(Place::command("/usr/bin/python3").args(arguments))?.status.success())
    };
    assert!(answered(&node.scene.lab.alice(), "10")?);
    assert!(!answered(&node.scene.lab.elsewhere(), "0.4")?);
    Ok(())
}

#[test]
fn a_tcp_listener_is_held_where_a_role_says_so_and_left_open_where_none_does() -> Result<()> {
    let node = Endpoints::new()?;
    for (role, mptcp, held) in
        [(HOLDING, "", true), (HOLDING, "mptcp", true), (crate::scene::PINNING, "", false)]
    {
        let (mut server, port) = node.serve(&node.alice_as(role)?, &format!("tcp {TCP} {mptcp}"))?;
        node.lists("tcp", port)?;
        assert!(line_comes_back(&node.scene.lab.alice(), port, SOON)?, "{role} {mptcp}");
        assert_eq!(line_comes_back(&node.scene.lab.elsewhere(), port, NEVER)?, !held, "{role} {mptcp}");
        server.hang_up()?;
        node.scene.deserted()?;
    }
    Ok(())
}

#[test]
fn a_listener_at_a_login_port_is_everybodys_and_outlives_a_cut() -> Result<()> {
    let node = Endpoints::with(|agent| agent.line(&format!("login_ports = [22, {TCP}]")))?;
    let (_server, port) = node.serve(&node.alice_as(HOLDING)?, &format!("tcp {TCP}"))?;
    assert!(line_comes_back(&node.scene.lab.elsewhere(), port, SOON)?);
    let server = format!("setsid /usr/bin/python3 {SERVER} tcp {} </dev/null >/dev/null 2>&1 &", TCP + 1);
    let config = node.scene.lab.node().read("/etc/cotter/agent.toml")?;
    let config = config.replace(&TCP.to_string(), &(TCP + 1).to_string());
    node.scene.lab.node().write("/etc/cotter/agent.toml", &config)?;
    node.scene.agent.signal(rustix::process::Signal::HUP)?;
    node.scene.agent.event("reloaded", |event| event["event"] == "reloaded")?;
    node.scene.at_alice(&node.alice_as(HOLDING)?).succeed(&server)?;
    node.scene.agent.told(&["lock", "--user", "example.com/alice"])?;
    eventually("whoever comes is served", || {
        Ok(line_comes_back(&node.scene.lab.elsewhere(), TCP + 1, SOON)?.then_some(()))
    })
}

#[test]
fn a_listener_that_was_never_bound_is_an_endpoint_too() -> Result<()> {
    let node = Endpoints::new()?;
    let (_server, port) = node.serve(&node.alice_as(HOLDING)?, "tcp 0")?;
    node.lists("tcp", port)?;
    assert!(line_comes_back(&node.scene.lab.alice(), port, SOON)?);
    assert!(!line_comes_back(&node.scene.lab.elsewhere(), port, NEVER)?);
    Ok(())
}

#[test]
fn a_port_that_ssh_forwards_is_held() -> Result<()> {
    let node = Endpoints::new()?;
    // A service of alice's own host, which nobody but her is to reach by way of the node.
    let target =
        node.scene.lab.alice().enter(|| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, TCP)))??;
    let _echo = std::thread::spawn(move || -> std::io::Result<()> {
        loop {
            let (mut stream, _) = target.accept()?;
            let mut word = [0; 4];
            stream.read_exact(&mut word)?;
            stream.write_all(&word)?;
        }
    });
    let forward = format!("-R*:{TCP}:127.0.0.1:{TCP}");
    let login = node.scene.at_alice(&node.alice_as(HOLDING)?).option(&forward);
    let _session = login.stay()?;
    node.lists("tcp", TCP)?;
    assert!(line_comes_back(&node.scene.lab.alice(), TCP, SOON)?);
    assert!(!line_comes_back(&node.scene.lab.elsewhere(), TCP, NEVER)?);
    Ok(())
}

#[test]
fn a_role_may_leave_endpoints_alone_and_a_cut_ends_them_all_the_same() -> Result<()> {
    let node = Endpoints::new()?;
    node.leave(&node.alice_as(LETTING)?, &format!("udp {UDP}"), UDP)?;
    assert!(datagram_comes_back(&node.scene.lab.elsewhere(), (NODE_V4, UDP), SOON)?);
    node.scene.agent.told(&["cut", text(&node.session()?, "id")?])?;
    node.nobody_reaches(UDP)
}

#[test]
fn endpoints_that_outlive_their_connection_are_held_whether_the_agent_lives_or_not() -> Result<()> {
    let mut node = Endpoints::new()?;
    let alice = node.scene.alice()?;
    node.leave(&alice, &format!("udp {UDP}"), UDP)?;
    let mut shell = node.scene.at_alice(&alice).run_at_terminal("echo ready; exec sh")?;
    shell.hears("ready", SOON)?;
    node.scene.agent.kill9()?;
    node.only_alice_reaches(UDP)?;
    // What is opened while the agent is dead.
    shell.send(&format!("/usr/bin/python3 {SERVER} udp {}", UDP + 1))?;
    shell.hears(&(UDP + 1).to_string(), SOON)?;
    node.only_alice_reaches(UDP + 1)?;
    node.scene.agent.start()?;
    node.only_alice_reaches(UDP)?;
    node.only_alice_reaches(UDP + 1)
}

#[test]
fn what_sockets_remember_goes_on_in_new_maps() -> Result<()> {
    let mut node = Endpoints::new()?;
    node.leave(&node.scene.alice()?, &format!("udp {UDP}"), UDP)?;
    node.scene.agent.stop()?;
    let config = node.scene.lab.node().read("/etc/cotter/agent.toml")?;
    node.scene.lab.node().write("/etc/cotter/agent.toml", &format!("max_sessions = 77\n{config}"))?;
    node.scene.agent.start()?;
    node.lists("udp", UDP)?;
    node.only_alice_reaches(UDP)
}

#[test]
fn a_port_that_another_session_takes_over_answers_to_that_ones_pin() -> Result<()> {
    let node = Endpoints::new()?;
    let (mut first, port) = node.serve(&node.scene.alice()?, &format!("udp {UDP}"))?;
    // Often enough for the devices to learn it.
    for _ in 0..20 {
        datagram_comes_back(&node.scene.lab.elsewhere(), (NODE_V4, port), Duration::from_millis(5))?;
    }
    node.only_alice_reaches(port)?;
    first.hang_up()?;
    node.scene.deserted()?;
    let order = Order { options: &[crate::scene::PINNING], ..Order::login("bob", &["bob"]) };
    let bob = node.scene.ca.issue("bob", &order.pinned(crate::scene::AT_ELSEWHERE))?;
    let login = node.scene.at_elsewhere(&bob);
    let mut second = login.run_at_terminal(&format!("exec /usr/bin/python3 {SERVER} udp {port}"))?;
    second.hears(&port.to_string(), SOON)?;
    ensure!(
        datagram_comes_back(&node.scene.lab.elsewhere(), (NODE_V4, port), SOON)?,
        "bob does not reach it"
    );
    ensure!(!datagram_comes_back(&node.scene.lab.alice(), (NODE_V4, port), NEVER)?, "alice does");
    Ok(())
}
