//! Bringing the kernel's tables, the hook's file and the audit trail in line with what is in force.

use super::mode::NodeMode;
use super::{Daemon, lock};
use crate::audit::{Subject, What};
use crate::clock;
use crate::config::{self, Config, Gate};
use crate::datapath::{Error, causes};
use crate::session::{kernel_mode, network};
use agent_ebpf::{Network, Node, Port, PortClass, Ports, Protocol};
use cotter_hook::mode_file::{Mode as HookMode, ModeFile, Until};
use pinning::Mode;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Loads the configuration anew: all of it, or nothing.
pub(super) fn reload(daemon: &Arc<Daemon>) {
    match config::load_trusted(&daemon.config_path)
        .map_err(|error| error.to_string())
        .and_then(|new| daemon.adopt(new))
    {
        Ok(hash) => {
            *lock(&daemon.reload_error) = None;
            daemon.audit.write(What::Reloaded { hash }, Subject::default());
        }
        Err(error) => {
            tracing::error!("the old configuration stays in force: {error}");
            *lock(&daemon.reload_error) = Some(error.clone());
            daemon.audit.write(What::ReloadFailed { error }, Subject::default());
        }
    }
}

impl Daemon {
    /// Puts a new configuration in force.
    fn adopt(&self, new: Config) -> Result<String, String> {
        let _one_at_a_time = lock(&self.config_change);
        let old = self.config();
        let new = new.go_on_following(&old)?;
        if let Some(fixed) = needs_restart(&old, &new) {
            return Err(format!("{fixed} cannot change while the agent runs; restart it"));
        }
        self.audit.set_file(new.event_log.as_deref()).map_err(|error| format!("event_log: {error}"))?;
        // The tables first: they are what can be refused. The old ones are put back then.
        if let Err(error) = self.write_tables(&new) {
            let restored = self.write_tables(&old);
            return Err(format!(
                "{error}{}",
                restored.err().map(|error| format!("; and: {error}")).unwrap_or_default()
            ));
        }
        let (hash, configured) = (new.hash.clone(), new.mode);
        self.follow_locks(&new);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.following.begin_anew(&self.config());
        self.keep();
        let problem = self.change_mode("configuration", |mode| mode.reconfigure(configured));
        self.settle_way_back(&self.config(), false);
        self.steer(&self.config());
        if self.config().ways_in() != old.ways_in() {
            // Whoever is connected to a port that was not looked at so far is not the agent's to end.
            self.look_at_strangers(true);
        }
        self.attach();
        problem.map_or(Ok(hash), Err)
    }

    /// Writes what a configuration says into the kernel's tables.
    pub(super) fn write_tables(&self, config: &Config) -> Result<(), Error> {
        let never_drop: Vec<Network> = config.never_drop.iter().copied().map(network).collect();
        self.tables.set_never_drop(&never_drop)?;
        let relays = config.trusted_relays.iter().flat_map(|relay| relay.addresses.iter().copied());
        self.tables.set_trusted_relays(&relays.map(network).collect::<Vec<_>>())?;
        let nodes = config.vouching.iter().flat_map(|vouching| vouching.nodes.iter().copied());
        self.tables.set_vouched(&nodes.map(network).collect::<Vec<_>>())?;
        // Gates know to whom they open before they are shut.
        self.sessions.set_gates(&config.gates)?;
        self.write_ports(config)
    }

    /// Says what each port is.
    pub(super) fn write_ports(&self, config: &Config) -> Result<(), Error> {
        let mut ports = Box::new(Ports::none());
        let mut add = |port, class| {
            let port = Port::new(port);
            ports.set(port, ports.class(port).and(class));
        };
        // Sessions that came by a port of the relay are held there, whether it is one still.
        let ways_in = config.ways_in().into_iter().chain(self.sessions.relay_ports());
        ways_in.for_each(|port| add(port, PortClass::TCP_LOGIN));
        let left_open = self.left_open(config);
        let gated = config.gates.iter().flat_map(Gate::ports);
        let gated = gated.filter(|(protocol, port)| *protocol == Protocol::Udp || !left_open.contains(port));
        gated.for_each(|(protocol, port)| add(port, PortClass::gated(protocol)));
        config.knocks.iter().for_each(|knocks| add(knocks.port, PortClass::UDP_KNOCK));
        let vouched_at = config.vouching.iter().flat_map(|vouching| vouching.ports.iter().copied());
        vouched_at.for_each(|port| add(port, PortClass::TCP_VOUCHED));
        if !config.trusted_relays.is_empty() {
            // Not the relay's own: a bastion may be a balancer, too.
            config.login_ports.iter().for_each(|port| add(*port, PortClass::TCP_STEERED));
        }
        self.tables.set_ports(&ports)
    }

    /// Sees to it that the connections of trusted relays are led to this node's relay, where there are any, and nowhere if that
    /// is not there.
    pub(super) fn steer(&self, config: &Config) {
        let steered = lock(&self.datapath).steer(!config.trusted_relays.is_empty());
        let error = steered.err().map(|error| causes(&error));
        let before = self.relayed.set_steer_error(error.clone());
        if let Some(error) = error.filter(|error| before.as_ref() != Some(error)) {
            tracing::error!("nobody gets in by trusted relays, which are not led to the relay: {error}");
        }
    }

    /// Login ports that stay without the gate which is to stand before them, since nobody would get past it.
    pub(super) fn left_open(&self, config: &Config) -> Vec<u16> {
        let may_be_dark = config.has_way_in(lock(&self.knocks_error).is_none());
        config.gated_login_ports().filter(|_| !may_be_dark).collect()
    }

    /// The host keys that knocks are for, if sshd has made them only after the agent's start.
    pub(super) fn look_for_host_keys(self: &Arc<Self>) {
        let has_none = self.config().knocks.as_ref().is_some_and(|knocks| knocks.host_keys.is_empty());
        if has_none && config::has_host_keys() {
            reload(self);
        }
    }

    /// A mode on trial goes on through the agent's restart: the kernel kept it.
    pub(super) fn resume_trial(&self) {
        let now = clock::monotonic();
        let Ok(node) = self.tables.node() else { return };
        let Some((until, _)) = node.fallback().filter(|(until, _)| *until > now) else { return };
        let trial = match node.mode(|| now) {
            agent_ebpf::Mode::Off => Mode::Off,
            agent_ebpf::Mode::Audit => Mode::Audit,
            agent_ebpf::Mode::Enforce => Mode::Enforce,
        };
        lock(&self.mode).try_out(trial, Duration::from_nanos(until - now), Instant::now());
    }

    /// Changes the mode; the kernel, the hook, the sessions and the audit trail follow, one change after the other. What
    /// of it did not come about.
    pub(super) fn change_mode(&self, by: &str, change: impl FnOnce(&mut NodeMode)) -> Option<String> {
        let _one_at_a_time = lock(&self.mode_change);
        // What was said last: a trial that has run out counts as what was on trial until this says otherwise.
        let before = self.audit.mode();
        change(&mut lock(&self.mode));
        let problem = self.write_mode().unwrap_or_else(|error| {
            tracing::error!("the kernel keeps the old mode: {error}");
            Some(format!("the kernel keeps the old mode: {error}"))
        });
        let now = self.mode();
        if now != before {
            let what = What::ModeChanged { from: before, to: now, by: by.to_owned() };
            self.audit.write(what, Subject::default());
        }
        problem
    }

    /// Writes the mode to wherever it is read; what went wrong on the way to the hook, which has the mode without us.
    fn write_mode(&self) -> Result<Option<String>, Error> {
        let (mode, settled, trial) = {
            let (node, now) = (lock(&self.mode), Instant::now());
            (node.at(now), node.settled(), node.trial_at(now).map(|trial| trial.until.duration_since(now)))
        };
        let until =
            trial.map(|left| clock::monotonic().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(0)));
        let node = match until {
            Some(until) => Node::until(kernel_mode(mode), until, kernel_mode(settled)),
            None => Node::in_mode(kernel_mode(mode)),
        };
        self.tables.set_node(&node)?;
        let problem = tell_hook(&self.config(), mode, settled, until);
        self.audit.set_mode(mode);
        if mode == Mode::Enforce {
            self.forgive_unlocked();
        }
        self.sessions.set_mode(mode, self.config().on_cut);
        Ok(problem)
    }
}

/// Tells the hook the mode before the kernel's part is in place. A trial of before the agent's restart goes on: its file
/// is right as it is.
pub(super) fn tell_hook_at_start(config: &Config, mode: &NodeMode) {
    let on_trial = ModeFile::read(&config.runtime_dir).ok().and_then(|file| file.until);
    if on_trial.is_none_or(|until| until.monotonic_ns <= clock::monotonic()) {
        let settled = mode.settled();
        tell_hook(config, settled, settled, None);
    }
}

/// Writes the hook's files: of the boot that is, and, without what is on trial, of the next. What could not be written.
fn tell_hook(config: &Config, mode: Mode, settled: Mode, until: Option<u64>) -> Option<String> {
    let file = ModeFile {
        mode: hook_mode(mode),
        until: until.map(|monotonic_ns| Until { monotonic_ns, mode: hook_mode(settled) }),
        login_ports: config.login_ports.clone(),
        login_names: config.login_names(),
        principals_files: config.principals_files().map(str::to_owned).collect(),
    };
    let next_boot = ModeFile { mode: hook_mode(settled), until: None, ..file.clone() };
    let mut problem = None;
    for (file, dir) in [(&file, &config.runtime_dir), (&next_boot, &config.state_dir)] {
        if let Err(error) = file.write(dir) {
            let text = format!("{}: the hook is not told the mode: {error}", dir.display());
            tracing::error!("{text}");
            problem = Some(text);
        }
    }
    problem
}

/// What a reload cannot change.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let differs = [
        ("runtime_dir", old.runtime_dir != new.runtime_dir),
        ("state_dir", old.state_dir != new.state_dir),
        ("bpf_pin_dir", old.bpf_pin_dir != new.bpf_pin_dir),
        ("max_sessions", old.max_sessions != new.max_sessions),
        ("sessions_cgroup", old.sessions_cgroup != new.sessions_cgroup),
        ("kernel_log", old.kernel_log != new.kernel_log),
        ("metrics", old.metrics != new.metrics),
        ("read_group", old.read_group != new.read_group),
        ("[vouch] (that there is one)", old.vouching.is_some() != new.vouching.is_some()),
        ("[knock] port and tcp", knocked_at(old) != knocked_at(new)),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name)
}

/// What it listens to for knocks: the port, and whether over TCP too.
fn knocked_at(config: &Config) -> Option<(u16, bool)> {
    config.knocks.as_ref().map(|knocks| (knocks.port, knocks.tcp))
}

fn hook_mode(mode: Mode) -> HookMode {
    match mode {
        Mode::Off => HookMode::Off,
        Mode::Audit => HookMode::Audit,
        Mode::Enforce => HookMode::Enforce,
    }
}
