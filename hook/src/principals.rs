//! AuthorizedPrincipalsCommand: prints what the agent answers, or what counts without it.
//!
//! Anybody with a public certificate makes sshd run this, as an unprivileged user and before any key is proven.
//! So it is cheap and writes nothing but, when the agent is silent, one line to the log; sshd writes one for
//! each such attempt too.

use std::process::ExitCode;

use cotter_hook::client::{AskError, ask};
use cotter_hook::fallback::Fallback;
use cotter_hook::protocol::{PRINCIPALS_SOCKET, Reply, Request};
use cotter_hook::syslog::{Severity, quoted};

use crate::arguments::{Asked, Node};
use crate::{pam, print};

pub(crate) fn run(asked: &Asked, node: &Node) -> ExitCode {
    let trouble = match ask_agent(asked, node) {
        Ok(Reply::Principals { lines }) => {
            return print(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        }
        Ok(Reply::Error { text }) => format!("the agent answered: {text}"),
        Ok(Reply::Allow { .. } | Reply::Deny { .. }) => String::from("the agent's answer is amiss"),
        Err(error) => error.to_string(),
    };
    let fallback = Fallback::read(&node.runtime_dir, &node.state_dir);
    let user = quoted(asked.user.as_encoded_bytes(), 64);
    node.log
        .line(Severity::Warning, &format!("principals for {user}: {trouble}; {}", pam::stance(&fallback)));
    print(asked.user.to_str().map(|user| fallback.principals(user)).unwrap_or_default())
}

/// Arguments that are not text never come from a real login name or certificate.
fn ask_agent(asked: &Asked, node: &Node) -> Result<Reply, AskError> {
    let text = |value: &std::ffi::OsStr| value.to_str().map(str::to_owned);
    let (Some(user), Some(certificate)) = (text(&asked.user), text(&asked.certificate)) else {
        return Err(AskError::NotText);
    };
    let request = Request::Principals { user, certificate };
    ask(&node.runtime_dir.join(PRINCIPALS_SOCKET), &request, pam::LIMIT)
}
