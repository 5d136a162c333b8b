//! What goes on without the agent, without the relay, without rules and without a configuration.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{ELSEWHERE, Lab, NODE_V4, eventually, within};

use super::Balanced;
use crate::scene::text;

/// Until the agent has certainly looked, however busy the machine is.
const LOOKED_AT: Duration = Duration::from_secs(40);

#[test]
fn sessions_go_on_without_the_agent_and_without_the_relay() -> Result<()> {
    let mut balanced = Balanced::by("send-proxy-v2", NODE_V4.into())?;
    let alice = balanced.alice()?;
    let alice_there = balanced.login(&balanced.scene.lab.alice(), &alice, ELSEWHERE.v4.into());
    let mut session = alice_there.stay()?;
    ensure!(session.echoes("first", Duration::from_secs(10))?);
    balanced.scene.agent.kill9()?;
    ensure!(session.echoes("without an agent", Duration::from_secs(10))?);
    let refused = alice_there.run("echo in")?;
    ensure!(!refused.status.success(), "nobody judges: {refused:?}");
    balanced.scene.agent.start()?;
    balanced.relay.restart()?;
    ensure!(session.echoes("with new ones", Duration::from_secs(10))?);
    let listed = balanced.scene.session_of("alice")?;
    assert_eq!(listed["flows"], 2);
    balanced.scene.agent.told(&["cut", text(&listed, "id")?])?;
    eventually("the connection ends", || Ok(session.ended()?.map(drop)))
}

#[test]
fn by_its_unit_a_connection_may_do_nothing_and_outlives_the_relay() -> Result<()> {
    let mut balanced =
        Balanced::in_lab(Lab::with_systemd()?, "send-proxy-v2", NODE_V4.into(), |agent| agent, "")?;
    let (alice, node) = (balanced.alice()?, balanced.scene.lab.node().clone());
    let mut session = balanced.login(&balanced.scene.lab.alice(), &alice, ELSEWHERE.v4.into()).stay()?;
    ensure!(session.echoes("first", Duration::from_secs(10))?);
    let of = "cd /proc; cat $(grep -lsz '^relay-connection$' [0-9]*/cmdline | sed s/cmdline/status/)";
    let status = node.run("sh", &["-c", of])?;
    let number = node.run("id", &["-u", "_cotter-relay"])?;
    let has = |name: &str, value: &str| {
        status.lines().filter(|line| line.starts_with(name)).any(|line| line.contains(value))
    };
    ensure!(has("Uid:", number.trim()) && has("NoNewPrivs:", "1") && has("Seccomp:", "2"), "{status}");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        ensure!(has(set, "0000000000000000"), "{set} {status}");
    }
    balanced.relay.restart()?;
    ensure!(session.echoes("the relay is another", Duration::from_secs(10))?);
    let log = balanced.relay.log()?;
    ensure!(!log.contains("ermitted") && !log.contains("denied"), "{log}");
    balanced.scene.agent.told(&["cut", text(&balanced.scene.session_of("alice")?, "id")?])?;
    eventually("the connection ends", || Ok(session.ended()?.map(drop)))
}

#[test]
fn rules_that_others_take_away_come_back_and_stay_as_long_as_a_session_needs_them() -> Result<()> {
    let balanced = Balanced::by("send-proxy-v2", NODE_V4.into())?;
    let (scene, alice) = (&balanced.scene, balanced.alice()?);
    let rules = || scene.lab.node().run("sh", &["-c", "ip rule show; ip -6 rule show"]);
    let ours = || -> Result<usize> { Ok(rules()?.matches("lookup 22022").count()) };
    let mut session = balanced.login(&scene.lab.alice(), &alice, ELSEWHERE.v4.into()).stay()?;
    ensure!(session.echoes("first", Duration::from_secs(10))?);
    assert_eq!(ours()?, 2, "{}", rules()?);
    scene.lab.node().run("ip", &["rule", "delete", "lookup", "22022"])?;
    assert_eq!(ours()?, 1);
    within(LOOKED_AT, "the rule is back", || Ok((ours()? == 2).then_some(())))?;
    ensure!(session.echoes("answers find back", Duration::from_secs(10))?);
    let config = scene.lab.node().read(super::CONFIG)?;
    let table = &config[config.find("[[relay_port]]").unwrap_or(config.len())..];
    balanced.reconfigure(table, "")?;
    assert_eq!(ours()?, 2, "a session needs them");
    ensure!(session.echoes("there is no relay port any more", Duration::from_secs(10))?);
    session.hang_up()?;
    within(LOOKED_AT, "nobody needs the rules", || Ok((ours()? == 0).then_some(())))?;
    let table =
        scene.lab.node().output(lab::Place::command("ip").args(["route", "show", "table", "22022"]))?;
    ensure!(table.stdout.is_empty(), "{table:?}");
    Ok(())
}

#[test]
fn an_emergency_login_that_nobody_has_recorded_is_not_cut_at_the_balancers_end() -> Result<()> {
    let balanced = Balanced::with(|agent| agent.line("login_grace_time = 1"), "")?;
    let (scene, key) = (&balanced.scene, balanced.scene.break_glass()?);
    let login = balanced.login(&scene.lab.alice(), &key, ELSEWHERE.v4.into());
    // The agent hangs meanwhile: the hook lets the key in, and leaves word of it.
    let mut session = scene.agent.behind_its_back(|| login.stay())?;
    let silent = scene.lab.elsewhere().enter(|| TcpStream::connect((NODE_V4, 22)))??;
    silent.set_nonblocking(true)?;
    // That one stands for the time after which the session's own would be cut, if it were.
    within(LOOKED_AT, "a connection without a session is cut", || {
        let mut rest = [0; 256];
        Ok(match (&silent).read(&mut rest) {
            Ok(0) => Some(()),
            Ok(_banner) => None,
            Err(error) => (error.kind() != std::io::ErrorKind::WouldBlock).then_some(()),
        })
    })?;
    ensure!(session.echoes("still here", Duration::from_secs(10))?);
    Ok(())
}
