//! Behind a real HAProxy: sshd, the agent and the kernel go by where users are, not by where the balancer is.

/// What goes on without agent, relay, rules and configuration.
mod outlives;
/// Whose word counts, and which.
mod trust;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    ALICE, AgentSetup, ELSEWHERE, Haproxy, INSIDE, Identity, Lab, Login, NODE_V4, NODE_V6, Order, Place,
    Relay, eventually,
};

use rustix::process::Signal;

use crate::scene::{AT_ALICE, PINNING, Scene, text};

const CONFIG: &str = "/etc/cotter/agent.toml";
/// Where users connect, at the balancer.
const FRONT: u16 = 2200;
/// Where the balancer connects, at the node.
const BACK: u16 = 2222;

/// A node that is reached by a balancer, which stands where others are somebody else.
struct Balanced {
    haproxy: Haproxy,
    relay: Relay,
    scene: Scene,
}

impl Balanced {
    /// The balancer says whose connections are by these words of its `server` line, over this address of the node.
    fn by(words: &str, node: IpAddr) -> Result<Self> {
        Self::in_lab(Lab::start()?, words, node, |agent| agent, "")
    }

    /// By version 2, where the agent has these lines too, and trusts these as well.
    fn with(agent: impl FnOnce(AgentSetup) -> AgentSetup, trusted: &str) -> Result<Self> {
        Self::in_lab(Lab::start()?, "send-proxy-v2", NODE_V4.into(), agent, trusted)
    }

    fn in_lab(
        lab: Lab,
        words: &str,
        node: IpAddr,
        agent: impl FnOnce(AgentSetup) -> AgentSetup,
        trusted: &str,
    ) -> Result<Self> {
        let (v4, v6) = (ELSEWHERE.v4, ELSEWHERE.v6);
        let port =
            format!("[[relay_port]]\nport = {BACK}\ntrusted_proxies = [\"{v4}\", \"{v6}/128\"{trusted}]");
        let scene = Scene::in_lab(lab, "enforce", |setup| agent(setup).last(&port), |sshd| sshd)?;
        let relay = Relay::start(&scene.lab, BACK)?;
        let haproxy = Haproxy::to_any(&scene.lab.elsewhere(), FRONT, SocketAddr::new(node, BACK), words)?;
        Ok(Self { haproxy, relay, scene })
    }

    /// A login through the balancer.
    fn login(&self, from: &Place, identity: &Identity, to: IpAddr) -> Login {
        Login::new(from, identity, "alice").to(to).port(FRONT)
    }

    /// Changes the agent's configuration, and has it read; the relay does not hear of it.
    fn reconfigure(&self, from: &str, to: &str) -> Result<()> {
        let config = self.scene.lab.node().read(CONFIG)?;
        ensure!(config.contains(from), "{from:?} is not in {config}");
        self.scene.lab.node().write(CONFIG, &config.replacen(from, to, 1))?;
        let mark = self.scene.agent.mark()?;
        self.scene.agent.signal(Signal::HUP)?;
        self.scene.agent.event_since(mark, "reload", |event| event["event"] == "reloaded").map(drop)
    }

    /// Alice's certificate, pinned to both of her addresses.
    fn alice(&self) -> Result<Identity> {
        let pins = format!("{AT_ALICE},{}/128", ALICE.v6);
        let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
        self.scene.ca.issue("alice", &order.pinned(&pins))
    }
}

#[test]
fn a_user_is_where_the_balancer_says_for_sshd_the_agent_and_the_trail() -> Result<()> {
    for (words, node, how) in [
        ("send-proxy", IpAddr::from(NODE_V4), "proxy-v1 via 198.51.222.2"),
        ("send-proxy-v2", IpAddr::from(NODE_V6), "proxy-v2 via 2001:db8:222::2"),
    ] {
        let balanced = Balanced::by(words, node)?;
        let (scene, alice) = (&balanced.scene, balanced.alice()?);
        for to in [IpAddr::from(ELSEWHERE.v4), IpAddr::from(ELSEWHERE.v6)] {
            let own = if to.is_ipv4() { IpAddr::from(ALICE.v4) } else { IpAddr::from(ALICE.v6) };
            let here = balanced.login(&scene.lab.alice(), &alice, to);
            let said =
                here.succeed("echo $SSH_CLIENT").with_context(|| balanced.relay.log().unwrap_or_default())?;
            assert_eq!(said.split(' ').next(), Some(own.to_string().as_str()), "{words}");
            let event = scene.agent.event("alice is in", |event| {
                event["event"] == "login_allowed" && event["observed"] == own.to_string()
            })?;
            assert_eq!(text(&event, "observed_how")?, how);
            let there = balanced.login(&scene.lab.inside(), &alice, to);
            let denial = scene.refused(&there, "pin_mismatch")?;
            assert_eq!(text(&denial, "observed_how")?, how);
            let elsewhere = if to.is_ipv4() { IpAddr::from(INSIDE.v4) } else { IpAddr::from(INSIDE.v6) };
            assert_eq!(text(&denial, "observed")?, elsewhere.to_string());
        }
        scene.deserted()?;
    }
    Ok(())
}

#[test]
fn a_cut_ends_both_legs_and_the_kernel_holds_the_outer_one_to_the_user() -> Result<()> {
    let balanced = Balanced::by("send-proxy-v2", NODE_V4.into())?;
    let (scene, alice) = (&balanced.scene, balanced.alice()?);
    let mut session = balanced.login(&scene.lab.alice(), &alice, ELSEWHERE.v4.into()).stay()?;
    ensure!(session.echoes("first", Duration::from_secs(10))?);
    let listed = scene.session_of("alice")?;
    assert_eq!((&listed["flows"], text(&listed, "observed")?), (&2.into(), "198.51.111.1"));
    let explained =
        |from: &str| scene.agent.json(&["explain", "--from", from, "--to", &format!("{NODE_V4}:{BACK}")]);
    let unknown = explained(&format!("{}:1", ELSEWHERE.v4))?;
    assert_eq!(text(&unknown, "reason")?, "login_attempt");
    let outer = scene.lab.node().run("ss", &["-Htn", "state", "established", &format!("sport = :{BACK}")])?;
    let outer = outer.split_whitespace().last().context("no outer leg")?;
    let judged = explained(&outer.replace("[::ffff:", "").replace(']', ""))?;
    assert_eq!((text(&judged, "reason")?, text(&judged, "session")?), ("pinned", text(&listed, "id")?));
    let how = (text(&judged, "observed")?, text(&judged, "observed_how")?);
    assert_eq!(how, ("198.51.111.1", "proxy-v2 via 198.51.222.2"));
    scene.agent.told(&["cut", text(&listed, "id")?])?;
    eventually("the connection ends", || Ok(session.ended()?.map(drop)))?;
    scene.deserted()?;
    Ok(())
}
