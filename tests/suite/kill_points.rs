//! The agent killed at every system call of a login: the login fails, or its session is known afterwards.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use lab::{Identity, eventually};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::Scene;

/// Labs beside each other; most of the time goes into starting the agent again.
const LABS: usize = 3;
/// How often a login may go through before a call that the recording shows is given up for this number: it may have
/// been made by a thread that did not exist yet when strace came.
const TRIES: u32 = 3;

/// Which question of sshd's is put to the agent while it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// AuthorizedPrincipalsCommand, which asks twice in a login.
    Principals,
    /// PAM's open_session; sshd has the principal from elsewhere.
    Session,
}

/// Threads of the agent. strace counts the calls of each thread by itself, so those that receive a question and those
/// that work on it are looked at apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Threads {
    /// The main thread and the runtime's two workers.
    Runtime,
    /// Those for work that may block, and the one that writes the event file.
    Blocking,
}

/// One system call that some threads make while they answer, and how often they were seen to.
#[derive(Clone, Debug)]
struct Series {
    question: Question,
    threads: Threads,
    call: String,
    times: usize,
}

/// What came of the logins during which the agent was killed.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    failed: usize,
    known: usize,
}

#[test]
fn killed_at_any_system_call_the_agent_leaves_no_login_without_its_session() -> Result<()> {
    let series = record()?;
    let queue = Mutex::new(VecDeque::from(series));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let tallies: Vec<BTreeMap<Question, Tally>> = std::thread::scope(|scope| {
        let labs: Vec<_> = (0..LABS).map(|_| scope.spawn(|| kill_at_each(next))).collect();
        labs.into_iter().map(|lab| lab.join().expect("no panic")).collect::<Result<_>>()
    })?;
    for question in [Question::Principals, Question::Session] {
        let of = |count: fn(&Tally) -> usize| -> usize {
            tallies.iter().filter_map(|tally| tally.get(&question)).map(count).sum()
        };
        let (failed, known) = (of(|tally| tally.failed), of(|tally| tally.known));
        writeln!(
            std::io::stderr(),
            "{question:?}: the agent was killed at {} points: {failed} logins failed, {known} sessions were known",
            failed + known
        )?;
        assert!(failed > 0, "{question:?}: no login failed");
        assert!(
            known > 0 || question == Question::Principals,
            "{question:?}: no session was known afterwards"
        );
    }
    Ok(())
}

/// A node to kill the agent of.
struct Node {
    scene: Scene,
    /// Her login asks both questions.
    alice: Identity,
    /// His login asks the second only.
    bob: Identity,
}

impl Node {
    fn new() -> Result<Self> {
        let any = "Match User bob\nAuthorizedPrincipalsCommand /usr/bin/echo %u";
        let scene = Scene::new(
            "enforce",
            |agent| agent.line("penalties = { denials = 0 }"),
            |sshd| sshd.last_line(any),
        )?;
        let (alice, bob) = (scene.alice()?, scene.bob()?);
        Ok(Self { scene, alice, bob })
    }

    fn login(&self, question: Question) -> Result<lab::Session> {
        let identity = match question {
            Question::Principals => &self.alice,
            Question::Session => &self.bob,
        };
        self.scene.at_alice(identity).stay()
    }

    /// The threads of the agent, in the eyes of whoever traces it.
    fn threads(&self, threads: Threads) -> Result<Vec<String>> {
        let agent = self.scene.agent.pid()?.as_raw_nonzero().get();
        let mut all: Vec<(i32, bool)> = Vec::new();
        for entry in fs::read_dir(format!("/proc/{agent}/task"))? {
            let task = entry?;
            let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
            let id = task.file_name().to_string_lossy().parse()?;
            all.push((id, name.trim() == "tokio-rt-worker"));
        }
        all.sort_unstable();
        // The runtime starts its workers before anything else does, and names what comes later like them.
        let mut of_tokio = 0;
        let is_runtime = |(id, tokio): (i32, bool)| {
            of_tokio += usize::from(tokio);
            (id, id == agent || (tokio && of_tokio <= 2))
        };
        let sorted = all.into_iter().map(is_runtime);
        let wanted = sorted.filter(|(_, runtime)| *runtime == (threads == Threads::Runtime));
        Ok(wanted.map(|(id, _)| id.to_string()).collect())
    }

    /// The connections to sshd, and those of the sessions that the agent knows, by the client's end.
    fn agree(&self) -> Result<bool> {
        let node = self.scene.lab.node();
        let listed = node.run("ss", &["-Htn", "state", "established", "sport = :22"])?;
        let mut open: Vec<String> =
            listed.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect();
        let sessions = self.scene.sessions()?;
        let mut known: Vec<String> =
            sessions.iter().filter_map(|session| session["peer"].as_str()).map(str::to_owned).collect();
        open.sort_unstable();
        known.sort_unstable();
        Ok(open == known)
    }
}

/// strace on some of the agent's threads; it lets go of them when dropped.
struct Trace {
    strace: Child,
}

impl Trace {
    fn attach(threads: &[String], arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("strace");
        command.arg("-qq").args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        for thread in threads {
            command.args(["-p", thread]);
        }
        let mut trace = Self { strace: command.spawn().context("strace (package strace)")? };
        eventually("strace is attached, or has ended", || {
            Ok((trace.has_ended()? || threads.iter().all(|thread| is_traced(thread))).then_some(()))
        })?;
        Ok(trace)
    }

    /// Whether it has ended: all that it traced is gone, or something was gone before it came.
    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.strace.try_wait()?.is_some())
    }

    /// Lets go of the threads, once all that was seen is written.
    fn finish(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.strace), Signal::TERM)?;
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Errors here mean that it has ended already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn is_traced(thread: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}

/// Watches one login of each kind; what calls there are to be killed at.
fn record() -> Result<Vec<Series>> {
    let node = Node::new()?;
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().context("a path that is no text")?;
    let mut series = Vec::new();
    for question in [Question::Principals, Question::Session] {
        let groups = [
            (Threads::Runtime, node.threads(Threads::Runtime)?),
            (Threads::Blocking, node.threads(Threads::Blocking)?),
        ];
        let all: Vec<String> = groups.iter().flat_map(|(_, threads)| threads.clone()).collect();
        let trace = Trace::attach(&all, &["-o", path])?;
        let session = node.login(question)?;
        trace.finish()?;
        drop(session);
        node.scene.deserted()?;
        let calls = of_one_question(&fs::read_to_string(path)?)?;
        for (threads, ids) in groups {
            for (call, times) in most_of_any(&calls, &ids) {
                series.push(Series { question, threads, call, times });
            }
        }
    }
    // The long ones first, so that no lab is left with one at the end.
    series.sort_by_key(|series| std::cmp::Reverse(series.times));
    Ok(series)
}

/// The calls, by thread, from the first connection of a hook that is accepted to the answer to it.
fn of_one_question(recording: &str) -> Result<Vec<(String, String)>> {
    let mut calls = Vec::new();
    for line in recording.lines() {
        let (thread, rest) = line.split_once(' ').context("a line of strace's without a thread")?;
        let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
        if name.starts_with('<') || (calls.is_empty() && name != "accept4") {
            continue;
        }
        calls.push((thread.to_owned(), name.to_owned()));
        if name == "sendto" && rest.contains("\"CTTR") {
            return Ok(calls);
        }
    }
    bail!("no question was answered: {recording}")
}

/// Each call that threads make, and how often the busiest of them does.
fn most_of_any(calls: &[(String, String)], threads: &[String]) -> BTreeMap<String, usize> {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for (thread, call) in calls.iter().filter(|(thread, _)| threads.contains(thread)) {
        *counts.entry((thread, call)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in counts {
        let entry = most.entry(call.to_owned()).or_insert(0);
        *entry = count.max(*entry);
    }
    most
}

/// Takes one series after the other, in a lab of its own.
fn kill_at_each(next: impl Fn() -> Option<Series>) -> Result<BTreeMap<Question, Tally>> {
    let mut node = Node::new()?;
    let mut tallies = BTreeMap::new();
    while let Some(series) = next() {
        let tally = tallies.entry(series.question).or_default();
        let (mut at, mut passed) = (1, 0);
        // A login that goes through shows that the call is no longer reached. The second of the questions for principals
        // is like the first.
        let asked_again = series.question == Question::Principals;
        while at <= series.times || (passed == 0 && !asked_again) {
            let killed =
                kill_at(&mut node, &series, at, tally).with_context(|| format!("{series:?} at {at}"))?;
            passed = if killed { 0 } else { passed + 1 };
            if killed || passed >= TRIES || at > series.times {
                at += 1;
            }
        }
    }
    Ok(tallies)
}

/// One login, during which the agent is killed before one call; whether it came to that.
fn kill_at(node: &mut Node, series: &Series, at: usize, tally: &mut Tally) -> Result<bool> {
    let call = &series.call;
    let inject = format!("inject={call}:signal=SIGKILL:when={at}");
    let arguments = ["-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"];
    // The agent may be killed at once, by a call that it makes without being asked anything.
    let trace = eventually("strace is attached, or the agent is dead", || {
        let mut trace = Trace::attach(&node.threads(series.threads)?, &arguments)?;
        Ok((!trace.has_ended()? || node.scene.agent.exit_status()?.is_some()).then_some(trace))
    })?;
    let login = node.login(series.question);
    // Killed, for strace may wait for ever if it is asked to let go of a process that is just dying.
    drop(trace);
    let killed = eventually("the agent is dead or answers", || {
        let dead = node.scene.agent.exit_status()?.is_some();
        Ok((dead || node.scene.agent.cli(&["status"])?.status.success()).then_some(dead))
    })?;
    if killed {
        node.scene.agent.kill9()?;
        node.scene.agent.start()?;
        *(if login.is_ok() { &mut tally.known } else { &mut tally.failed }) += 1;
    }
    match login {
        Ok(mut session) => {
            ensure!(session.ended()?.is_none(), "the login went through and ended");
            eventually("each connection is a known session", || Ok(node.agree()?.then_some(())))?;
            ensure!(node.scene.sessions()?.len() == 1, "one client, {:?}", node.scene.sessions()?);
            session.hang_up()?;
        }
        Err(error) if !killed => return Err(error.context("the agent lives, the login failed")),
        Err(_) => {}
    }
    eventually("nothing is left", || Ok((node.agree()? && node.scene.sessions()?.is_empty()).then_some(())))?;
    Ok(killed)
}
