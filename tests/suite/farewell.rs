//! Terminals are told why their session ends, and none holds up a lock, a login or the agent's end.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Lab, Order, Place, Session, eventually, within};

use crate::scene::{AT_ALICE, AT_ELSEWHERE, MOVING, Scene, text};

/// How soon a client must notice that its session was ended.
const AT_ONCE: Duration = Duration::from_secs(3);
/// What the agent does without waiting for a terminal takes less, on a slow machine too, and what waits for one that hangs
/// takes until that is gone.
const PROMPT: Duration = Duration::from_secs(10);
const LOCKED: &str = "Cotter ends this session: it has been locked; ask your administrator.";
const HANG: &str = include_str!("farewell/hang.pl");

#[test]
fn all_terminals_of_a_locked_session_are_told_by_the_units_agent() -> Result<()> {
    let scene = Scene::in_lab(Lab::with_systemd()?, "enforce", |agent| agent, |sshd| sshd)?;
    let mut session = scene.at_alice(&scene.alice()?).stay_at_terminal("true")?;
    // The event does not wait for the words, nor for the end.
    scene.agent.told(&["lock", "--login", "alice"])?;
    let cut = scene.agent.event("cut", |event| event["event"] == "session_cut")?;
    assert_eq!((&cut["sockets"], &cut["overruled"]), (&1.into(), &false.into()), "{cut}");
    session.hears(LOCKED, AT_ONCE)?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    scene.deserted()
}

#[test]
fn a_terminal_that_wants_no_messages_gets_none() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mut mute = scene.at_alice(&scene.alice()?).stay_at_terminal("mesg n")?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    assert_eq!(mute.last_words(AT_ONCE)?, "");
    Ok(())
}

#[test]
fn a_terminal_that_is_stopped_holds_up_no_cut() -> Result<()> {
    let scene = Scene::enforcing()?;
    // `stty` cannot stop output; the terminal driver does at the first Ctrl-S that comes in.
    let mut stopped = scene.at_alice(&scene.alice()?).stay_at_terminal("stty ixon")?;
    assert!(stopped.send("\u{13}")?);
    assert!(!stopped.echoes("stopped", Duration::from_secs(1))?);
    scene.agent.told(&["lock", "--login", "alice"])?;
    within(AT_ONCE, "the client notices", || stopped.ended())?;
    Ok(())
}

#[test]
fn who_was_to_be_ended_by_an_agent_that_died_is_ended_by_the_next() -> Result<()> {
    // Where nothing is enforced, an administrator's own word counts all the same.
    for mode in ["enforce", "audit"] {
        let mut scene = Scene::new(mode, |agent| agent, |sshd| sshd)?;
        let mut session = scene.at_alice(&scene.alice()?).stay_at_terminal("true")?;
        let id = text(&scene.session_of("alice")?, "id")?.to_owned();
        // While its terminal is being told.
        scene.agent.told(&["cut", &id])?;
        scene.agent.kill9()?;
        scene.agent.start()?;
        eventually("the client notices", || session.ended())?;
    }
    Ok(())
}

#[test]
fn who_was_to_be_ended_for_a_login_from_elsewhere_does_not_come_back_with_the_next_agent() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let order = Order { options: &[MOVING], ..Order::login("alice", &["alice"]) };
    let mut old =
        scene.at_alice(&scene.ca.issue("alice", &order.pinned(AT_ALICE))?).stay_at_terminal("true")?;
    scene.lab.node().run("mkdir", &["-p", "/root/example/else"])?;
    let moved = scene.ca.issue("else/alice", &order.pinned(AT_ELSEWHERE))?;
    let new = scene.at_elsewhere(&moved).stay()?;
    scene.agent.kill9()?;
    scene.agent.start()?;
    eventually("the old client notices", || old.ended())?;
    drop(new);
    Ok(())
}

#[test]
fn a_session_that_was_told_of_its_end_is_ended_by_an_agent_that_stops() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay_at_terminal("true")?;
    scene.agent.told(&["lock", "--login", "alice"])?;
    scene.agent.stop()?;
    within(AT_ONCE, "the client notices", || session.ended())?;
    Ok(())
}

#[test]
fn a_terminal_that_hangs_holds_up_no_lock_and_takes_the_words_from_nobody_else() -> Result<()> {
    // Where systemd starts the agent, it has no descriptors but its own.
    let scene = Scene::in_lab(Lab::with_systemd()?, "enforce", |agent| agent, |sshd| sshd)?;
    let mut hung = hang(&scene, &scene.alice()?)?;
    let certificate = scene.bob()?;
    let mut bob = scene.at_alice(&certificate).stay_at_terminal("true")?;
    prompt("the lock", || scene.agent.told(&["lock", "--address", AT_ALICE]))?;
    let descriptors = within(AT_ONCE, "a process that is kept waiting", || kept_waiting(scene.lab.node()))?;
    assert_eq!(descriptors, ["0", "1", "2"], "it holds nothing of the agent's");
    bob.hears(LOCKED, AT_ONCE)?;
    within(AT_ONCE, "bob's client notices", || bob.ended())?;
    within(AT_ONCE, "so does the one at the terminal that hangs", || hung.ended())?;
    assert_eq!(prompt("a login", || scene.at_elsewhere(&certificate).succeed("echo in"))?, "in\n");
    Ok(())
}

#[test]
fn a_terminal_that_hangs_holds_up_no_login_from_elsewhere() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[MOVING], ..Order::login("alice", &["alice"]) };
    let mut hung = hang(&scene, &scene.ca.issue("alice", &order.pinned(AT_ALICE))?)?;
    scene.lab.node().run("mkdir", &["-p", "/root/example/else"])?;
    let moved = scene.ca.issue("else/alice", &order.pinned(AT_ELSEWHERE))?;
    assert_eq!(prompt("the login", || scene.at_elsewhere(&moved).succeed("echo in"))?, "in\n");
    within(AT_ONCE, "the old client notices", || hung.ended())?;
    Ok(())
}

#[test]
fn terminals_that_hang_hold_up_no_restart_of_the_agent() -> Result<()> {
    let mut scene = Scene::in_lab(Lab::with_systemd()?, "enforce", |agent| agent, |sshd| sshd)?;
    let alice = scene.alice()?;
    let hung: Vec<Session> = (0..3).map(|_| hang(&scene, &alice)).collect::<Result<_>>()?;
    for session in scene.sessions()? {
        scene.agent.told(&["cut", text(&session, "id")?])?;
    }
    prompt("the agent's end", || scene.agent.stop())?;
    scene.agent.start()?;
    for mut session in hung {
        within(AT_ONCE, "the client notices", || session.ended())?;
    }
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn what_outlives_the_agent_in_its_control_group_holds_up_no_restart() -> Result<()> {
    let mut scene = Scene::in_lab(Lab::with_systemd()?, "enforce", |agent| agent, |sshd| sshd)?;
    // As what hangs beyond the reach of signals does, this one stays.
    let stays = "trap '' TERM; echo $$ >/sys/fs/cgroup/system.slice/cotter-agent.service/cgroup.procs; echo in; exec cat";
    let mut shell = Place::command("sh");
    shell.args(["-c", stays]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut left = scene.lab.node().spawn(&mut shell)?;
    let mut word = [0; 3];
    left.stdout.take().unwrap().read_exact(&mut word)?;
    prompt("the agent's end", || scene.agent.stop())?;
    assert_eq!(left.try_wait()?, None);
    scene.agent.start()?;
    assert_eq!(scene.at_alice(&scene.alice()?).succeed("echo in")?, "in\n");
    Ok(())
}

/// Does something that must not wait for a terminal.
fn prompt<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = act()?;
    ensure!(began.elapsed() < PROMPT, "{what} took {:?}", began.elapsed());
    Ok(done)
}

/// A login whose terminal keeps everybody waiting who opens it.
fn hang(scene: &Scene, identity: &lab::Identity) -> Result<Session> {
    let node = scene.lab.node();
    node.write("/run/hang.pl", HANG)?;
    // Else only root's page faults may be handled by the user.
    let device =
        "[ -e /run/faults ] || mknod -m 666 /run/faults c 10 $(awk '/userfaultfd/ {print $1}' /proc/misc)";
    node.run("sh", &["-c", device])?;
    let mut session = scene.at_alice(identity).run_at_terminal("tty; exec perl /run/hang.pl /run/faults")?;
    let terminal = session.hears("reading", Duration::from_secs(30))?;
    assert!(session.send("x")?);
    session.hears("hung", Duration::from_secs(30))?;
    let terminal = terminal.lines().next().unwrap().trim().to_owned();
    within(AT_ONCE, "the terminal hangs", || Ok(hangs(node, &terminal)?.then_some(())))?;
    Ok(session)
}

/// The descriptors of a process that tells terminals and has done all but what it waits for.
fn kept_waiting(node: &Place) -> Result<Option<Vec<String>>> {
    let look = "for at in /proc/[0-9]*; do \
                grep -qsx farewell -z $at/cmdline && grep -qs tty_lock $at/task/*/wchan && ls $at/fd; done; true";
    let listed = node.run("sh", &["-c", look])?;
    let descriptors: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    Ok((!descriptors.is_empty()).then_some(descriptors))
}

/// Whether opening a terminal takes longer than it should.
fn hangs(node: &Place, terminal: &str) -> Result<bool> {
    let tried = node.run("sh", &["-c", &format!("timeout 0.5 sh -c ': >{terminal}'; echo $?")])?;
    Ok(tried.trim() == "124")
}
