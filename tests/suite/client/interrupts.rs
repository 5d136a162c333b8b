//! Signals end it at once, wherever it is, and the terminal is as before.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Client, Terminal, eventually};
use rustix::process::Signal;

use super::{Story, alice, fails, target, types_password};

/// What takes no longer was not waited for.
const AT_ONCE: Duration = Duration::from_secs(8);
/// As long may a look last that an authority does not answer, before ssh and after it.
const LOOKS: Duration = Duration::from_secs(24);

/// Ends with this code, at once, and leaves the terminal as it was.
fn ends_at_once(terminal: &mut Terminal, code: i32) -> Result<()> {
    let start = Instant::now();
    let ended = terminal.end()?;
    ensure!(ended.code() == Some(code), "not {code} but {ended}");
    ensure!(start.elapsed() < AT_ONCE, "after {:?}", start.elapsed());
    ensure!(!terminal.is_taken()?, "the terminal is left as it was");
    Ok(())
}

#[test]
fn an_interrupt_ends_the_question_for_the_fingerprint_and_the_wait_for_anothers_turn() -> Result<()> {
    let story = Story::begin()?;
    let (client, url) = (Client::at(&story.lab.alice()), story.authority.url());
    let login = ["login", "--authority", &url, "--user", "alice"];
    let mut asked = client.cotter_at_terminal(&login)?;
    asked.shows("the fingerprint", |screen| screen.contains("fingerprint)?"))?;
    asked.press("\u{3}")?;
    ends_at_once(&mut asked, 130)?;

    let known = [&login[..], &["--fingerprint", story.authority.fingerprint()]].concat();
    let mut first = client.cotter_at_terminal(&known)?;
    first.shows("the password is asked for", |screen| screen.contains("Password of alice at"))?;
    let mut second = client.cotter_at_terminal(&login)?;
    second.shows("the fingerprint", |screen| screen.contains("fingerprint)?"))?;
    second.press("yes\r")?;
    second.shows("what is waited for", |screen| screen.contains("waiting for it"))?;
    second.press("\u{3}")?;
    ends_at_once(&mut second, 130)?;
    types_password(&mut first)?;
    ensure!(first.end()?.success());
    Ok(())
}

#[test]
fn whatever_ends_the_question_for_the_password_gives_the_terminal_back() -> Result<()> {
    let story = Story::begin()?;
    let away = alice(&story)?.moved(&story.lab.elsewhere());
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut terminal = away.cotter_at_terminal(&["ssh", &target(), "echo in"])?;
        terminal.shows("the password is asked for", |screen| screen.contains("Password of alice at"))?;
        eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
        terminal.signal(signal)?;
        ends_at_once(&mut terminal, code)?;
    }
    Ok(())
}

#[test]
fn who_stops_it_at_the_question_gets_the_terminal_back_and_is_asked_again_unseen() -> Result<()> {
    let story = Story::begin()?;
    let away = alice(&story)?.moved(&story.lab.elsewhere());
    // A shell stands above it, as people have one: the first process of a terminal is never stopped by it.
    let line = format!("set -m; cotter ssh {} 'echo in $((40 + 2))'; echo held; fg", target());
    let mut terminal = away.at_terminal("sh", &["-c", &line])?;
    let asked = |times| move |screen: &str| screen.matches("Password of alice at").count() == times;
    terminal.shows("the password is asked for", asked(1))?;
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press("\u{1a}")?;
    terminal.shows("the shell goes on", |screen| screen.contains("held"))?;
    terminal.shows("the password is asked for again", asked(2))?;
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press(&format!("{}\r", super::PASSWORD))?;
    let shown = terminal.shows("the command's own words", |screen| screen.contains("in 42"))?;
    ensure!(terminal.end()?.success() && !shown.contains(super::PASSWORD), "{shown}");
    Ok(())
}

#[test]
fn an_authority_that_does_not_answer_costs_seconds_before_ssh_and_after_it() -> Result<()> {
    let story = Story::begin()?;
    let client = alice(&story)?;
    story.authority.pause()?;
    let start = Instant::now();
    let words = fails(255, &client.cotter(&["ssh", &target(), "exit 255"])?)?;
    story.authority.signal(Signal::CONT)?;
    ensure!(start.elapsed() < LOOKS, "after {:?}: {words}", start.elapsed());
    ensure!(words.contains("trying the certificate that you have"), "{words}");
    // ssh can be interrupted, and nothing is looked for afterwards.
    let mut terminal = client.cotter_at_terminal(&["ssh", &target(), "echo begun; sleep 60"])?;
    terminal.shows("the command's own words", |screen| screen.contains("begun"))?;
    story.authority.pause()?;
    terminal.press("\u{3}")?;
    let ended = ends_at_once(&mut terminal, 255);
    story.authority.signal(Signal::CONT)?;
    ended
}
