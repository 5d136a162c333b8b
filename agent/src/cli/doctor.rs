//! `doctor`: what would keep Cotter from working, one line a finding, each with its remedy.

use super::exit::Failure;
use super::{Common, Exit, client, output};
use crate::config;
use crate::daemon::call::{Answer, Call};
use crate::setup::pam_order::{self, Order};
use serde::Serialize;
use std::path::Path;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), remedy: None }
    }

    fn warning(what: impl Into<String>, remedy: &'static str) -> Self {
        Self { level: Level::Warning, what: what.into(), remedy: Some(remedy) }
    }

    fn error(what: impl Into<String>, remedy: &'static str) -> Self {
        Self { level: Level::Error, what: what.into(), remedy: Some(remedy) }
    }
}

pub(super) fn doctor(common: &Common) -> Result<Exit, Failure> {
    let findings = [btf(), cgroup2(), ptrace(), pam(), break_glass(), configuration(common)]
        .into_iter()
        .chain(agent(common));
    let findings: Vec<Finding> = findings.collect();
    if common.json {
        output::json(&findings);
    } else {
        for finding in &findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            let remedy = finding.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
            output::line(&format!("{level:<8} {}{remedy}", finding.what));
        }
    }
    Ok(match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Error) => Exit::Usage,
        Some(Level::Warning) => Exit::Denied,
        Some(Level::Ok) | None => Exit::Done,
    })
}

fn btf() -> Finding {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Finding::ok("the kernel describes its types (BTF)");
    }
    Finding::error(
        "the kernel has no BTF",
        "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build it",
    )
}

fn cgroup2() -> Finding {
    match crate::session::Cgroups::find() {
        Ok(_) => Finding::ok("cgroup2 is mounted"),
        Err(error) => Finding::warning(error.to_string(), "sessions end with their connection until it is"),
    }
}

fn ptrace() -> Finding {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if scope.trim() == "3" {
        return Finding::error(
            "kernel.yama.ptrace_scope is 3: the connection of a login cannot be found",
            "set it to 2 or less; 3 can only be left by a reboot",
        );
    }
    Finding::ok("connections of sshd's processes can be found")
}

fn pam() -> Finding {
    match pam_order::of("sshd", Path::new("/etc/pam.d")) {
        Order::Right => Finding::ok("PAM runs the hook before users have a say in its environment"),
        Order::NoHook => Finding::warning(
            "PAM does not run the hook for sshd: logins are not turned into sessions",
            "cotter-agent setup sshd",
        ),
        Order::AtClose => Finding::error(
            "PAM runs the hook when sessions close, too: as root, in an environment that users can set",
            "add type=open_session to its line, as packaging/pam/cotter has it",
        ),
        Order::EnvironmentFirst => Finding::error(
            "/etc/pam.d/sshd runs pam_env with user_readenv before the hook: users can deceive it",
            "move the hook's line directly behind common-session",
        ),
    }
}

fn break_glass() -> Finding {
    let path = "/etc/cotter/break-glass.keys";
    match std::fs::read_to_string(path) {
        Ok(text) if text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')) => {
            Finding::ok(format!("{path} has a key"))
        }
        Ok(_) | Err(_) => Finding::warning(
            format!("{path} has no key that can be read"),
            "put an administrator's public key there before mode enforce",
        ),
    }
}

fn configuration(common: &Common) -> Finding {
    match config::load(&common.config) {
        Ok(config) if config.policy.clusters().is_empty() => {
            Finding::warning("the configuration names no cluster", "add a [[cluster]] with its user_ca")
        }
        Ok(config) => Finding::ok(format!("the configuration loads ({})", config.hash)),
        Err(error) => Finding::error(error.to_string(), "mend it; a running agent keeps the old one"),
    }
}

fn agent(common: &Common) -> Vec<Finding> {
    let Ok(Answer::Status(status)) = client::call(common, &Call::Status) else {
        return vec![Finding::error("the agent does not answer", "systemctl start cotter-agent")];
    };
    let mut findings = vec![Finding::ok(format!("the agent runs in mode {}", status.mode.mode))];
    if status.attachments.is_empty() {
        findings
            .push(Finding::error("no interface is covered", "see `interfaces` and `attach` in agent.toml"));
    }
    if let Some(error) = status.reload_error {
        findings
            .push(Finding::warning(format!("the latest reload was refused: {error}"), "mend it and reload"));
    }
    findings
}
