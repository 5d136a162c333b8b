//! The running agent: whether it answers where it should, and is the one that is installed.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use cotter_hook::fallback::Fallback;

use super::{Finding, Node};
use crate::config::MetricsAt;
use crate::daemon::call::Status;
use crate::socket::connect_within;

/// How long a connection to the metrics or the admin socket may take.
const CONNECTING: Duration = Duration::from_secs(2);

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    match &node.status {
        Err(why) => vec![Finding::error(
            "agent",
            why,
            "systemctl start cotter-agent; what keeps it from starting stands here too",
        )],
        Ok(status) => {
            let answers = format!("the agent runs in mode {}", status.mode.mode);
            let mut findings =
                vec![Finding::ok("agent", answers), mode_file(node, status), executable(status)];
            findings.extend(node.is_open().then(|| admin_socket(node)));
            findings.extend(metrics(node));
            findings
        }
    }
}

fn admin_socket(node: &Node) -> Finding {
    let socket = node.places.runtime_dir.join("admin.sock");
    match connect_within(&socket, CONNECTING) {
        Ok(_) => Finding::ok("admin-socket", format!("{} is there", socket.display())),
        Err(error) => Finding::error(
            "admin-socket",
            format!("{}: {error}: sessions can neither be cut nor locked", socket.display()),
            "systemctl restart cotter-agent",
        ),
    }
}

/// What the hook goes by when the agent is silent.
fn mode_file(node: &Node, status: &Status) -> Finding {
    let fallback = Fallback::read(&node.places.runtime_dir, &node.places.state_dir);
    let (hook, agent) = (fallback.mode.as_str(), status.mode.mode.to_string());
    let what = match fallback.problem {
        Some(problem) => format!("without the agent no login passes, for the hook knows no mode: {problem}"),
        None if hook != agent => format!("without the agent the hook goes by mode {hook}, not {agent}"),
        None => {
            return Finding::ok("mode-file", format!("without the agent the hook goes by mode {hook} too"));
        }
    };
    Finding::error("mode-file", what, "systemctl restart cotter-agent")
}

/// Whether what runs is what is installed.
fn executable(status: &Status) -> Finding {
    let (running, installed) = (status.version.as_str(), env!("CARGO_PKG_VERSION"));
    let replaced = fs::read_link(format!("/proc/{}/exe", status.pid))
        .is_ok_and(|path| path.to_string_lossy().ends_with(" (deleted)"));
    if running == installed && !replaced {
        return Finding::ok("restart", format!("the agent is that of version {installed}"));
    }
    let what = format!("the running agent ({running}) is not the installed one ({installed})");
    Finding::warning("restart", what, "systemctl restart cotter-agent")
}

fn metrics(node: &Node) -> Option<Finding> {
    let at = node.config.as_ref().ok()?.metrics;
    let connected = match at {
        MetricsAt::Off => return None,
        MetricsAt::Unix => {
            connect_within(&node.places.runtime_dir.join("metrics.sock"), CONNECTING).map(drop)
        }
        MetricsAt::Tcp(address) => TcpStream::connect_timeout(&address, CONNECTING).map(drop),
    };
    Some(match connected {
        Ok(()) => Finding::ok("metrics", "metrics are served"),
        Err(error) => metrics_missing(at, &error),
    })
}

fn metrics_missing(at: MetricsAt, error: &io::Error) -> Finding {
    let remedy = match at {
        MetricsAt::Tcp(_) => "free the port, or give the unit the drop-in that it describes",
        MetricsAt::Unix | MetricsAt::Off => "systemctl restart cotter-agent",
    };
    Finding::warning("metrics", format!("metrics are not served: {error}"), remedy)
}
