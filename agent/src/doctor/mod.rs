//! `doctor`: looks for what would keep Cotter from working, or let logins pass it by. It changes nothing, leaves no
//! trace, and waits for nothing longer than some seconds.

mod agent;
mod authorities;
mod bastions;
mod break_glass;
mod capabilities;
mod clock;
mod configuration;
mod endpoints;
mod finding;
mod firewall;
mod followed;
mod gates;
mod hook;
mod interfaces;
mod iptables;
mod kernel;
mod keys_files;
mod knock;
mod listener;
mod nft;
mod other_logins;
mod pam;
mod pins;
mod ports;
mod redirection;
mod relay;
mod roots_file;
mod sshd;
mod sshd_version;
mod storage;

use std::path::Path;
use std::time::Duration;

use rustix::thread::CapabilitySet;

pub use self::finding::{Finding, Level};
use self::listener::Listener;
use self::sshd::Sshd;
use crate::config::{self, Config, ConfigError, Places};
use crate::daemon::call::Status;
use crate::setup;

/// How long another program may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known before anything is looked at closely.
struct Node {
    config: Result<Config, ConfigError>,
    places: Places,
    /// What the agent says is in force, or why it says nothing.
    status: Result<Box<Status>, String>,
    /// What sshd goes by, or why it does not say.
    sshd: Result<Sshd, setup::Error>,
    /// The capabilities that this process lacks of those that looking takes.
    lacking: CapabilitySet,
    /// The sockets on which sshd listens, where this process may look.
    listeners: Option<Vec<Listener>>,
}

impl Node {
    /// Whether this process may look at everything; what it may not is nobody's fault, and left out.
    fn is_open(&self) -> bool {
        self.lacking.is_empty()
    }
}

/// Looks at everything. `status` is the agent's answer, or why there is none.
#[must_use]
pub fn examine(config_path: &Path, status: Result<Box<Status>, String>) -> Vec<Finding> {
    let config = config::load_trusted(config_path);
    let port = config.as_ref().ok().and_then(|config| config.login_ports.first().copied()).unwrap_or(22);
    let mut node = Node {
        config,
        places: Places::of(config_path),
        status,
        sshd: Sshd::ask(port),
        lacking: capabilities::lacking(),
        listeners: None,
    };
    if let (true, Ok(config)) = (node.is_open(), &node.config) {
        node.listeners = listener::all(&config.sshd_paths).ok();
    }
    let looks: [fn(&Node) -> Vec<Finding>; 24] = [
        capabilities::findings,
        kernel::findings,
        pins::findings,
        configuration::findings,
        followed::findings,
        agent::findings,
        interfaces::findings,
        endpoints::findings,
        storage::findings,
        sshd_version::findings,
        sshd::findings,
        other_logins::findings,
        hook::findings,
        pam::findings,
        authorities::findings,
        break_glass::findings,
        ports::findings,
        gates::findings,
        firewall::findings,
        listener::findings,
        relay::findings,
        bastions::findings,
        knock::findings,
        clock::findings,
    ];
    looks.iter().flat_map(|look| look(&node)).collect()
}
