//! `pam_exec`: asks the agent when a session opens.

use std::env;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use cotter_hook::break_glass;
use cotter_hook::client::{AskError, ask};
use cotter_hook::connection::Connection;
use cotter_hook::fallback::Fallback;
use cotter_hook::process::Pid;
use cotter_hook::protocol::{Open, PAM_SOCKET, Reply, Request};
use cotter_hook::syslog::{Severity, quoted};
use cotter_hook::unmanaged;
use rustix::process::getppid;

use crate::arguments::Node;
use crate::{ending, environment, print};

/// The longest that a login waits for the agent.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// The same when the answer does not matter: a break-glass login.
const BRIEF_LIMIT: Duration = Duration::from_millis(300);

/// The only service whose sessions are the hook's business.
const SERVICE: &str = "sshd";

/// What a user reads when the agent is silent and the node enforces.
const SILENT: &str = "cotter: this node cannot check logins at the moment and so refuses them.\n\
                      cotter: tell its administrator; logging in again does not help.";

/// What a user reads when the environment is not PAM's alone.
const TAMPERED: &str =
    "cotter: this login brings settings of its own where only the system's may be, and is refused.";

pub(crate) fn run(node: &Node) -> ExitCode {
    if let Some(sign) = environment::tampering() {
        return refuse_tampered(node, &sign);
    }
    let pam_type = env::var_os("PAM_TYPE").unwrap_or_default();
    // Services share PAM's files. Nobody but PAM has had a say in this name, as was just seen.
    let is_sshd = env::var_os("PAM_SERVICE").is_none_or(|service| service == SERVICE);
    match pam_type.to_str() {
        Some("open_session" | "close_session") if !is_sshd => ExitCode::SUCCESS,
        Some("open_session") => open(node),
        // That a session has closed the agent learns from the kernel.
        Some("close_session" | "account") => ExitCode::SUCCESS,
        // pam_exec knows no "ignore": success here would stand for a checked or changed password.
        _ => {
            let pam_type = quoted(pam_type.as_encoded_bytes(), 32);
            node.log
                .line(Severity::Error, &format!("has no business in PAM's {pam_type:?}: session lines only"));
            ExitCode::FAILURE
        }
    }
}

/// In every mode: what is known of such a login is what its user wants to be known.
fn refuse_tampered(node: &Node, sign: &str) -> ExitCode {
    let login = Login::from_environment();
    let advice = "pam_env with user_readenv must stand behind the hook in PAM's configuration";
    node.log.line(Severity::Alert, &format!("{login}: {sign}; {advice}"));
    let fallback = Fallback::read(&node.runtime_dir, &node.state_dir);
    login.refuse(node, login.connection(&fallback.login_ports).as_ref(), TAMPERED);
    ExitCode::FAILURE
}

/// What the agent says of a login.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Allow { message: Option<String> },
    Deny { message: String },
    Silent { trouble: String },
}

/// What becomes of a login.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It goes on, recorded by the agent.
    Open { message: Option<String> },
    /// It goes on although the agent has not recorded it, because of this.
    OpenUnmanaged { because: &'static str },
    /// It ends.
    Refuse { message: String },
}

/// The decision, in one place.
fn decide(answer: Answer, break_glass: bool, fallback_permits: bool) -> Outcome {
    match answer {
        Answer::Allow { message } => Outcome::Open { message },
        Answer::Deny { .. } | Answer::Silent { .. } if break_glass => {
            Outcome::OpenUnmanaged { because: "break-glass key" }
        }
        Answer::Deny { message } => Outcome::Refuse { message },
        Answer::Silent { .. } if fallback_permits => {
            Outcome::OpenUnmanaged { because: "the node does not enforce" }
        }
        Answer::Silent { .. } => Outcome::Refuse { message: SILENT.to_owned() },
    }
}

fn open(node: &Node) -> ExitCode {
    let login = Login::from_environment();
    let fallback = Fallback::read(&node.runtime_dir, &node.state_dir);
    let connection = login.connection(&fallback.login_ports);
    let break_glass = login.uses_break_glass(node);

    let answer = login.ask(node, connection.as_ref().map(|connection| connection.cookie), break_glass);
    if break_glass {
        node.log.line(Severity::Alert, &format!("{login}: break-glass key, let in whatever the agent says"));
    }
    match &answer {
        Answer::Silent { trouble } => {
            node.log.line(Severity::Error, &format!("{login}: {trouble}; {}", stance(&fallback)));
        }
        Answer::Deny { .. } if break_glass => {
            node.log.line(Severity::Alert, &format!("{login}: the agent denied"))
        }
        Answer::Allow { .. } | Answer::Deny { .. } => {}
    }
    match decide(answer, break_glass, fallback.permits()) {
        Outcome::Open { message } => print(for_the_user(&message.unwrap_or_default())),
        Outcome::OpenUnmanaged { because } => {
            login.mark_unmanaged(node, connection.as_ref(), because);
            ExitCode::SUCCESS
        }
        Outcome::Refuse { message } => {
            login.refuse(node, connection.as_ref(), &message);
            ExitCode::FAILURE
        }
    }
}

/// What is in force without the agent, for the log.
pub(crate) fn stance(fallback: &Fallback) -> String {
    let mode = fallback.mode.as_str();
    match &fallback.problem {
        Some(problem) => format!("mode {mode}, because there is no usable mode file: {problem}"),
        None => format!("mode {mode}"),
    }
}

/// A login as PAM describes it.
struct Login {
    /// None if it is no text, which no login name is.
    user: Option<String>,
    tty: String,
    service: String,
    rhost: String,
    auth_info: Vec<u8>,
    /// The process that serves the connection: pam_exec runs us as its direct child.
    monitor: Option<Pid>,
}

impl Login {
    fn from_environment() -> Self {
        let variable = |name: &str| env::var_os(name).unwrap_or_default();
        let text = |name: &str| variable(name).to_string_lossy().into_owned();
        Self {
            user: variable("PAM_USER").into_string().ok(),
            tty: text("PAM_TTY"),
            service: text("PAM_SERVICE"),
            rhost: text("PAM_RHOST"),
            auth_info: variable("SSH_AUTH_INFO_0").into_encoded_bytes(),
            monitor: getppid(),
        }
    }

    /// The connection of this login. Ports of a mode file that is behind the times must not hide it.
    fn connection(&self, login_ports: &[u16]) -> Option<Connection> {
        let monitor = self.monitor?;
        Connection::of_process(monitor, login_ports).or_else(|_| Connection::of_process(monitor, &[])).ok()
    }

    fn uses_break_glass(&self, node: &Node) -> bool {
        break_glass::is_used(&node.break_glass, &self.auth_info).unwrap_or_else(|error| {
            let file = node.break_glass.display();
            node.log.line(Severity::Alert, &format!("break-glass keys in {file} do not count: {error}"));
            false
        })
    }

    fn ask(&self, node: &Node, cookie: Option<u64>, break_glass: bool) -> Answer {
        let reply = match &self.user {
            None => Err(AskError::NotText),
            Some(user) => {
                let request = Request::Open(Open {
                    user: user.clone(),
                    tty: self.tty.clone(),
                    service: self.service.clone(),
                    rhost: self.rhost.clone(),
                    auth_info: self.auth_info.clone(),
                    cookie,
                    break_glass,
                });
                ask(
                    &node.runtime_dir.join(PAM_SOCKET),
                    &request,
                    if break_glass { BRIEF_LIMIT } else { LIMIT },
                )
            }
        };
        match reply {
            Ok(Reply::Allow { message }) => Answer::Allow { message },
            Ok(Reply::Deny { message }) => Answer::Deny { message },
            Ok(Reply::Error { text }) => Answer::Silent { trouble: format!("the agent answered: {text}") },
            Ok(Reply::Principals { .. }) => {
                Answer::Silent { trouble: String::from("the agent's answer is amiss") }
            }
            Err(error) => Answer::Silent { trouble: error.to_string() },
        }
    }

    /// Best effort: what happens without the mark is that the agent may take the connection for one that never
    /// logged in.
    fn mark_unmanaged(&self, node: &Node, connection: Option<&Connection>, because: &str) {
        let marked = match connection {
            Some(connection) => {
                unmanaged::mark(&node.runtime_dir, connection.cookie).map_err(|e| e.to_string())
            }
            None => Err(String::from("its connection was not found")),
        };
        let mark = marked.err().map_or_else(String::new, |error| format!(" and unmarked: {error}"));
        node.log.line(Severity::Warning, &format!("{self}: let in unmanaged{mark} ({because})"));
    }

    fn refuse(&self, node: &Node, connection: Option<&Connection>, message: &str) {
        // First of all someone is on the way to end the connection; only then is time spent on the text.
        let ending = match (connection, self.monitor) {
            (Some(connection), Some(monitor)) => ending::begin(connection, monitor),
            _ => Err(String::from("its connection was not found")),
        };
        print(for_the_user(message));
        if let Err(error) = ending {
            node.log.line(Severity::Error, &format!("{self}: refused, but not disconnected: {error}"));
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| quoted(text.as_bytes(), 64);
        write!(f, "login of {} from {}", quoted(self.user.as_deref().unwrap_or("?")), quoted(&self.rhost))
    }
}

/// A few lines of plain text that end with a line break; empty stays empty.
fn for_the_user(message: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let mut text: String = message.trim().chars().take(1000).map(plain).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow() -> Answer {
        Answer::Allow { message: None }
    }

    fn deny() -> Answer {
        Answer::Deny { message: "no".into() }
    }

    fn silent() -> Answer {
        Answer::Silent { trouble: "dead".into() }
    }

    #[test]
    fn the_agents_word_counts() {
        for permits in [false, true] {
            assert_eq!(decide(allow(), false, permits), Outcome::Open { message: None });
            assert_eq!(decide(deny(), false, permits), Outcome::Refuse { message: "no".into() });
        }
    }

    #[test]
    fn without_the_agent_the_mode_counts() {
        assert_eq!(decide(silent(), false, false), Outcome::Refuse { message: SILENT.into() });
        assert!(matches!(decide(silent(), false, true), Outcome::OpenUnmanaged { .. }));
    }

    #[test]
    fn a_break_glass_key_gets_in_whatever_is_said_or_not_said() {
        for permits in [false, true] {
            assert_eq!(decide(allow(), true, permits), Outcome::Open { message: None });
            assert!(matches!(decide(deny(), true, permits), Outcome::OpenUnmanaged { .. }));
            assert!(matches!(decide(silent(), true, permits), Outcome::OpenUnmanaged { .. }));
        }
    }

    #[test]
    fn text_for_the_user_is_plain_and_short() {
        assert_eq!(for_the_user(""), "");
        assert_eq!(for_the_user("a\x1b[2Jb\r\nc\n\n"), "a [2Jb \nc\n");
        assert_eq!(for_the_user(&"x".repeat(5000)).len(), 1001);
    }
}
