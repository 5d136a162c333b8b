//! Whose word counts, and which.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::{AgentSetup, Place, Relay, eventually};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::chain::{By, Chain, has_listeners, trusted};
use crate::scene::text;

/// What OpenSSH signs statements for.
const NAMESPACE: &str = "vouch@cotter";
const KEY: &str = "/var/lib/cotter/relay_key";

/// A statement's line, signed by OpenSSH with a key of this place's.
fn signed(place: &Place, key: &str, statement: &Value) -> Result<String> {
    let text = statement.to_string();
    place.write("/root/statement", &text)?;
    let sign = format!("ssh-keygen -q -Y sign -n {NAMESPACE} -f {key} < /root/statement");
    let signature = place.run("sh", &["-c", &sign])?;
    Ok(format!("{}\n", json!({ "statement": text, "signature": signature })))
}

fn milliseconds() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?)
}

impl Chain {
    /// The bastion.
    fn at(&self) -> &Place {
        self.bastion.lab.node()
    }

    fn sshd(&self) -> Result<SocketAddr> {
        Ok((self.node()?.joint.far_v4(), 22).into())
    }

    /// A connection to the node that is nobody's session on the bastion.
    fn connect(&self) -> Result<TcpStream> {
        let to = self.sshd()?;
        let stream = self.at().enter(|| TcpStream::connect(to))??;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    /// What the node answers to a line from the bastion.
    fn answer(&self, line: &str) -> Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The fingerprint of the bastion's key.
    fn fingerprint(&self) -> Result<String> {
        let listed = self.at().run("ssh-keygen", &["-lf", KEY])?;
        Ok(listed.split(' ').nth(1).context("no fingerprint")?.to_owned())
    }

    /// What the bastion would say of a connection that alice has opened there.
    fn statement(&self, connection: &TcpStream, id: u8) -> Result<Value> {
        let vouched = json!({
            "address": "198.51.111.1", "how": "direct", "user": "alice", "serial": 1,
            "session": "0000000000000001", "through": [self.fingerprint()?],
        });
        Ok(json!({
            "id": format!("{id:032x}"), "made_at": milliseconds()?,
            "from": connection.local_addr()?, "to": self.sshd()?, "says": { "opened": vouched },
        }))
    }

    /// Has the bastion say that alice's session there is over.
    pub(super) fn say_that_it_is_over(&self, session: &str) -> Result<()> {
        let to = self.sshd()?;
        let near = self.node()?.joint.near_v4().to_string();
        let open =
            self.at().run("ss", &["-Htn", "state", "established", "src", &near, "dport", "=", ":22"])?;
        let from = open.split_whitespace().nth(2).context("no connection to the node")?;
        let statement = |session: &str, id: u8| -> Result<String> {
            let says = json!({ "ended": { "session": session } });
            let made_at = milliseconds()?;
            let statement = json!({ "id": format!("{id:032x}"), "made_at": made_at, "from": from, "to": to, "says": says });
            signed(self.at(), KEY, &statement)
        };
        // Of another session, to which the same connection may have belonged before.
        self.answer(&statement("00000000000000ff", 1)?)?;
        ensure!(
            self.node()?.agent.json(&["sessions"])?["sessions"].as_array().is_some_and(|all| all.len() == 1)
        );
        let answer = self.answer(&statement(session, 2)?)?;
        ensure!(answer.contains("taken"), "{answer}");
        Ok(())
    }
}

#[test]
fn a_statement_counts_once_for_its_connection_and_by_the_bastions_key_alone() -> Result<()> {
    let chain = Chain::of(1)?;
    let mut connection = chain.connect()?;
    let statement = chain.statement(&connection, 1)?;
    let line = signed(chain.at(), KEY, &statement)?;
    let forged = line.replace("198.51.111.1", "198.51.222.2");
    ensure!(forged != line && chain.answer(&forged)?.contains("not signed by the relay's key"));
    chain.at().run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "/root/other"])?;
    let other = signed(chain.at(), "/root/other", &statement)?;
    ensure!(chain.answer(&other)?.contains("not signed by the relay's key"));
    let answer = chain.answer(&line)?;
    ensure!(answer.contains("taken"), "{answer}");
    ensure!(chain.answer(&line)?.contains("counted before"));
    connection.write_all(b"SSH-2.0-test\r\n")?;
    let mut banner = [0; 8];
    connection.read_exact(&mut banner)?;
    assert_eq!(&banner, b"SSH-2.0-");
    // The next one is not hers by it.
    let mut next = chain.connect()?;
    next.write_all(b"SSH-2.0-test\r\n")?;
    let mut said = Vec::new();
    let _closed = next.read_to_end(&mut said);
    ensure!(said.is_empty(), "{said:?}");
    Ok(())
}

#[test]
fn a_statement_is_short_lived_and_speaks_of_what_can_be() -> Result<()> {
    let chain = Chain::of(1)?;
    let connection = chain.connect()?;
    let good = chain.statement(&connection, 1)?;
    let changed = |path: &str, value: Value| {
        let mut other = good.clone();
        other.pointer_mut(path).map(|place| *place = value).context(path.to_owned()).map(|()| other)
    };
    let own = chain.fingerprint()?;
    let (now, vouched) = (milliseconds()?, "/says/opened");
    let many: Vec<String> = (0..4).map(|number| format!("SHA256:{number}")).chain([own.clone()]).collect();
    for (path, value, why) in [
        ("/made_at".to_owned(), json!(now - 40_000), "more than 30 s old"),
        ("/made_at".to_owned(), json!(now + 60_000), "from the future"),
        ("/from".to_owned(), json!("203.0.113.77:40000"), "it speaks of 203.0.113.77:40000"),
        (format!("{vouched}/address"), json!("127.0.0.1"), "nobody is at 127.0.0.1"),
        (format!("{vouched}/through"), json!(many), "its way is too long"),
        (format!("{vouched}/through"), json!(["SHA256:0", own, "SHA256:0", own]), "through a relay twice"),
        (format!("{vouched}/through"), json!(["SHA256:0"]), "does not end at this one"),
        (format!("{vouched}/user"), json!("two\nlines"), "control characters"),
    ] {
        let mut statement = changed(&path, value)?;
        statement["id"] = json!(format!("{:032x}", 100 + why.len()));
        let answer = chain.answer(&signed(chain.at(), KEY, &statement)?)?;
        ensure!(answer.contains("refused") && answer.contains(why), "{path}: {answer}");
    }
    Ok(())
}

#[test]
fn a_statement_is_for_one_connection_and_not_for_the_next_from_the_same_port() -> Result<()> {
    let chain = Chain::of(1)?;
    let (to, near) = (chain.sshd()?, IpAddr::from(chain.node()?.joint.near_v4()));
    let connect_from = |port: u16| -> Result<TcpStream> {
        let socket = chain.at().enter(|| -> Result<OwnedFd> {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &SocketAddr::new(near, port))?;
            connect(&socket, &to)?;
            Ok(socket)
        })??;
        // Torn off rather than closed: its port is free at once.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        Ok(socket.into())
    };
    let first = connect_from(0)?;
    let port = first.local_addr()?.port();
    let line = signed(chain.at(), KEY, &chain.statement(&first, 1)?)?;
    let late = signed(chain.at(), KEY, &chain.statement(&first, 2)?)?;
    ensure!(chain.answer(&line)?.contains("taken"));
    drop(first);
    ensure!(chain.answer(&late)?.contains("not_yet"), "of what is not there nothing is said");
    let mut second = connect_from(port)?;
    second.set_read_timeout(Some(Duration::from_secs(30)))?;
    second.write_all(b"SSH-2.0-test\r\n")?;
    let mut said = Vec::new();
    let _closed = second.read_to_end(&mut said);
    ensure!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

#[test]
fn a_client_that_listens_first_gets_in_as_well() -> Result<()> {
    let chain = Chain::of(1)?;
    let mut connection = chain.connect()?;
    let line = signed(chain.at(), KEY, &chain.statement(&connection, 1)?)?;
    ensure!(chain.answer(&line)?.contains("taken"));
    let mut banner = [0; 8];
    connection.read_exact(&mut banner)?;
    assert_eq!(&banner, b"SSH-2.0-");
    Ok(())
}

#[test]
fn a_bastion_may_be_a_balancer_too() -> Result<()> {
    let port = "[[relay_port]]\nport = 2222\ntrusted_proxies = [\"203.0.113.1\"]";
    let chain = Chain::with(1, AgentSetup::new("enforce").last(port))?;
    let to = SocketAddr::from((chain.node()?.joint.far_v4(), 2222));
    let mut connection = chain.at().enter(|| TcpStream::connect(to))??;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    connection.write_all(b"PROXY TCP4 198.51.111.1 203.0.113.2 40000 2222\r\nSSH-2.0-test\r\n")?;
    let mut banner = [0; 8];
    connection.read_exact(&mut banner)?;
    assert_eq!(&banner, b"SSH-2.0-");
    Ok(())
}

#[test]
fn who_finds_the_relays_listener_by_themselves_is_led_nowhere() -> Result<()> {
    let chain = Chain::with(1, AgentSetup::new("audit"))?;
    let (node, loopback) = (chain.node()?, IpAddr::from(Ipv4Addr::LOCALHOST));
    let listening = node.lab.node().run("ss", &["-Hltn", "src", "127.0.0.1"])?;
    let port =
        listening.split_whitespace().nth(3).and_then(|it| it.rsplit(':').next()).context("no listener")?;
    let to = SocketAddr::new(loopback, port.parse()?);
    for from in [loopback, node.joint.far_v4().into()] {
        let said = node.lab.node().enter(|| -> Result<Vec<u8>> {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            bind(&socket, &SocketAddr::new(from, 0))?;
            connect(&socket, &to)?;
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(b"SSH-2.0-test\r\n")?;
            let mut said = Vec::new();
            // Whether closed or reset: nothing may have been said.
            let _ended = stream.read_to_end(&mut said);
            Ok(said)
        })??;
        ensure!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
    eventually("the relay says why", || {
        Ok(node.relay.log()?.contains("not led here by the kernel").then_some(()))
    })
}

#[test]
fn a_way_that_leads_through_a_bastion_twice_ends_there() -> Result<()> {
    let chain = Chain::of(2)?;
    let alice = chain.alice()?;
    // The first one trusts the second, and has a relay.
    let back = lab::Joint::between(&chain.behind[0].lab, &chain.bastion.lab, 9)?;
    let trust = trusted(&chain.behind[0].agent, back)?;
    let (place, config) = (chain.at().clone(), "/etc/cotter/agent.toml");
    place.write(config, &format!("{}\n{trust}", place.read(config)?))?;
    chain.bastion.agent.signal(Signal::HUP)?;
    let _relay = Relay::for_bastions(&chain.bastion.lab)?;
    has_listeners(&chain.bastion.agent)?;
    let mark = chain.bastion.agent.mark()?;
    let user = chain.bastion.lab.alice();
    chain.login(&user, By::V4, &alice, &alice)?.succeed("true")?;
    // From the second to the first once more.
    let login = chain.login(&user, By::V4, &alice, &alice)?.to(back.far_v4().into());
    ensure!(!login.run("echo in")?.status.success());
    let of_relay = |event: &Value| event["event"] == "login_denied" && event["step"] == "relay";
    let denial = chain.bastion.agent.event_since(mark, "a denial", of_relay)?;
    assert_eq!(text(&denial, "reason")?, "observed_address_unknown");
    let log = chain.bastion.agent.log()?;
    ensure!(log.contains("its way has led through this node already"), "{log}");
    Ok(())
}
