//! The whole story without any outside authority: a login by password, a pin, a move, a refusal, a new login.

/// As much work for people whom nobody knows as for those whom somebody does.
mod alike;
/// What its command line lists and locks, and what anybody may ask.
mod asked;
/// The trail of what it decided and what was done to it.
mod audit;
/// Keys: several at once, one after the other, behind an ssh-agent.
mod ca;
/// Killed while people log in: nothing that it acknowledged is lost.
mod killed;
/// What there is with PostgreSQL alone: several authorities, and a server that can hang or go.
mod only_postgres;
/// What there is with SQLite alone: a file, which can be copied, spoilt, shown to others, and fill the disk.
mod only_sqlite;
/// Roles from the command line.
mod roles;
/// Its storage: what is kept, and whose it is.
mod storage;
/// The store itself, asked without an authority.
mod store;
/// Callers that are slow, endless, or no callers at all.
mod strangers;
/// Who guesses is kept waiting, and nobody else.
mod throttle;
/// A certificate for HTTPS of somebody else's making, and who trusts whom by it.
mod tls;
/// What is in the trail exactly once, and what strangers can write there before anything is judged.
mod trail;

use anyhow::{Result, ensure};
use lab::{AgentSetup, Authority, Lab, NODE_V4, Sshd, SshdSetup, Storage};

use crate::scene::text;

const PASSWORD: &str = "correct horse battery";

/// A node that enforces, with an authority of its own beside it.
struct Story {
    authority: Authority,
    agent: lab::Agent,
    _sshd: Sshd,
    lab: Lab,
}

impl Story {
    /// On the storage that the tests are run on.
    fn begin(lines: &str) -> Result<Self> {
        Self::in_lab(Lab::start()?, Storage::chosen()?, lines)
    }

    /// On this one. Only tests in modules `only_…` name one: they are run once.
    fn on(storage: Storage, lines: &str) -> Result<Self> {
        Self::in_lab(Lab::start()?, storage, lines)
    }

    fn in_lab(lab: Lab, storage: Storage, lines: &str) -> Result<Self> {
        let setup = AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).role("open", &[]);
        setup.write(&lab)?;
        let authority = Authority::on(storage, &lab, lines)?;
        let setup = setup.cluster("example.com", &authority.ca, "roles_from = \"cotter\"")?;
        let agent = setup.start(&lab)?;
        let sshd = SshdSetup::with_cotter(&authority.ca)?.start(&lab)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        Ok(Self { authority, agent, _sshd: sshd, lab })
    }
}

fn output(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn alice_logs_in_is_pinned_moves_is_refused_and_logs_in_again() -> Result<()> {
    let story = Story::begin("")?;
    let (home, away) = (story.lab.alice(), story.lab.elsewhere());
    let target = format!("alice@{NODE_V4}");
    let logged_in = story.authority.log_in(&home, "alice", PASSWORD)?;
    ensure!(logged_in.status.success(), "{}", output(&logged_in));
    ensure!(output(&logged_in).contains("198.51.111.1/32"), "{}", output(&logged_in));

    let at_home = Authority::client(&home, &["ssh", &target, "echo in"])?;
    ensure!(at_home.status.success() && output(&at_home) == "in\n", "{}", output(&at_home));

    let moved = Authority::client(&away, &["ssh", &target, "echo in"])?;
    let words = output(&moved);
    assert_eq!(moved.status.code(), Some(1), "{words}");
    ensure!(words.contains("your address changed from 198.51.111.1 to 198.51.222.2"), "{words}");
    ensure!(words.contains("cotter login"), "{words}");

    let again = story.authority.log_in(&away, "alice", PASSWORD)?;
    ensure!(again.status.success(), "{}", output(&again));
    let there = Authority::client(&away, &["ssh", &target, "echo in again"])?;
    ensure!(there.status.success() && output(&there) == "in again\n", "{}", output(&there));
    let allowed =
        story.agent.event("login", |event| event["event"] == "login_allowed" && event["user"] == "alice")?;
    assert_eq!(text(&allowed, "cluster")?, "example.com");
    Ok(())
}

#[test]
fn nobody_logs_in_with_a_wrong_password_and_what_is_said_is_the_same_of_whom_nobody_knows() -> Result<()> {
    let story = Story::begin("")?;
    let home = story.lab.alice();
    let said: Vec<String> = ["alice", "nobody"]
        .iter()
        .map(|user| {
            let refused = story.authority.log_in(&home, user, "wrong")?;
            assert_eq!(refused.status.code(), Some(1));
            Ok(output(&refused))
        })
        .collect::<Result<_>>()?;
    assert_eq!(said[0], said[1]);
    ensure!(said[0].contains("wrong user, password or code"), "{}", said[0]);
    Ok(())
}
