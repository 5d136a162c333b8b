//! Starting: in the order in which nothing is ever unprotected, and ending without undoing.

use super::admin::{Rights, callers};
use super::farewells::farewells;
use super::follow::{self, Following};
use super::locks::Locks;
use super::mode::NodeMode;
use super::penalties::Penalties;
use super::serve::{Hook, hooks};
use super::sockets::{Sockets, for_readers, make_dir};
use super::state::{StateFile, Stored};
use super::strangers::Strangers;
use super::vouching::{self, Vouching};
use super::{Daemon, lock, reload, sweep};
use crate::audit::{Audit, Subject, What};
use crate::clock;
use crate::config::{self, Config, ConfigError, KernelLog, MetricsAt};
use crate::datapath::{Datapath, Error, Settings, Takeover};
use crate::knock;
use crate::login::{Denials, Queries};
use crate::metrics::{self, Listener};
use crate::session::{Cgroups, Sessions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel programs could not be loaded, or their maps not be written.
    #[error("the kernel's part is not in place")]
    Datapath(#[from] Error),
    /// A directory, socket or the state file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the agent until it is told to end (SIGTERM, SIGINT). What it put into the kernel stays and goes on.
///
/// # Errors
/// It could not start; whatever an earlier agent put into the kernel stays in force.
pub async fn run(config_path: &Path) -> Result<(), StartError> {
    let config = config::load_trusted(config_path)?;
    make_dir(&config.state_dir, 0o755)?;
    make_dir(&config.runtime_dir, 0o755)?;
    let daemon = Arc::new(prepare(config, config_path)?);
    let sockets = Sockets::bind(&daemon.config().runtime_dir, &daemon.config().read_group)?;
    let mut tasks = spawn(&daemon, sockets)?;
    tasks.spawn(serve_metrics(Arc::clone(&daemon)));
    daemon.started();
    wait_for_the_end(&daemon, &mut tasks).await?;
    daemon.sessions.say_no_more();
    daemon.audit.write(What::AgentStopped, Subject::default());
    daemon.audit.summarise_all();
    notify(&[sd_notify::NotifyState::Stopping]);
    tasks.shutdown().await;
    Ok(())
}

/// Loads or takes over the kernel's part, and brings it in line with configuration and stored state.
fn prepare(config: Config, config_path: &Path) -> Result<Daemon, StartError> {
    let state_file = StateFile::in_dir(&config.state_dir);
    let stored = read_state(&state_file);
    let mode = NodeMode::new(config.mode, stored.mode);
    // Before anything that may fail: whether logins pass without the agent must not depend on its coming up.
    reload::tell_hook_at_start(&config, &mode);
    let audit = Arc::new(Audit::new(mode.at(Instant::now()), config.event_log.as_deref())?);
    let cgroups = cgroups();
    let settings = Settings {
        pin_dir: config.bpf_pin_dir.clone(),
        max_sessions: config.max_sessions,
        kernel_log: config.kernel_log,
        sessions_cgroup: cgroups.as_ref().and_then(|cgroups| slice(cgroups, &config.sessions_cgroup)),
    };
    let (datapath, takeover) = Datapath::open(&settings)?;
    let takeovers = takeovers(&config.runtime_dir, &takeover);
    let tables = Arc::new(datapath.tables()?);
    let sessions =
        Sessions::recover(Arc::clone(&tables), Arc::clone(&audit), cgroups, &config.sessions_cgroup)?;
    let followed = config.newest_followed().map(|followed| Locks::of_policy(followed)).unwrap_or_default();
    let following = Following::at_start(&config);
    let takeover = sentence(&takeover, sessions.len());
    let daemon = Daemon {
        audit,
        sessions,
        mode: Mutex::new(mode),
        mode_change: Mutex::default(),
        locks: Mutex::new(Locks::new(stored.locks, followed)),
        state_file: Mutex::new(state_file),
        penalties: Penalties::new(Arc::clone(&tables)),
        tables,
        endpoints_error: Mutex::default(),
        knocks_error: Mutex::default(),
        datapath: Mutex::new(datapath),
        coverage: Mutex::default(),
        denials: Mutex::new(Denials::default()),
        queries: Mutex::new(Queries::default()),
        relayed: super::relayed::Relayed::default(),
        heard: super::vouched::Heard::at_start(),
        vouching: vouching(&config),
        way_back: Mutex::default(),
        way_back_change: Mutex::default(),
        strangers: Mutex::new(Strangers::default()),
        missing: Mutex::default(),
        takeover,
        takeovers,
        started_at: clock::unix(),
        config: RwLock::new(Arc::new(config)),
        config_path: config_path.to_owned(),
        reload_error: Mutex::new(None),
        config_change: Mutex::default(),
        following,
    };
    daemon.resume_trial();
    daemon.write_tables(&daemon.config())?;
    // What goes wrong is logged, and `status` and `mode` show what is in force.
    let _logged = daemon.change_mode("start", |_| ());
    daemon.settle_way_back(&daemon.config(), true);
    daemon.steer(&daemon.config());
    daemon.attach();
    daemon.enforce_locks();
    daemon.keep();
    daemon.look_at_strangers(true);
    Ok(daemon)
}

/// By what this node vouches for its users. If that is not to be had, they are not vouched for, and get in nowhere behind it.
fn vouching(config: &Config) -> Option<Vouching> {
    let vouching = Vouching::at_start(config);
    vouching.unwrap_or_else(|error| {
        tracing::error!("this node vouches for nobody: {error}");
        None
    })
}

/// Where the sessions' cgroups are.
fn cgroups() -> Option<Cgroups> {
    let found = Cgroups::find();
    found.inspect_err(|error| tracing::warn!("sessions have no cgroup of their own: {error}")).ok()
}

/// The directory of the cgroup below which sessions have theirs.
fn slice(cgroups: &Cgroups, name: &str) -> Option<PathBuf> {
    let found = cgroups.provide(name);
    found.inspect_err(|error| tracing::error!("cgroup {name}: {error}")).ok()
}

/// How the agent took over, and how many sessions, for `status` and the audit trail. The maps hold more than people's: those
/// of accounts.
fn sentence(takeover: &Takeover, sessions: usize) -> String {
    match takeover {
        Takeover::Fresh => "started afresh".to_owned(),
        Takeover::SameVersion { sessions: _ } => format!("went on with {sessions} sessions"),
        Takeover::Migrated { from, sessions: _ } => {
            format!("moved {sessions} sessions from maps of version {from}")
        }
        Takeover::StartedAfresh { why } => format!("started afresh: {why}"),
    }
}

/// Counts takeovers since the node booted, in a file that lives as long as the runtime directory.
fn takeovers(runtime_dir: &Path, takeover: &Takeover) -> u64 {
    let file = runtime_dir.join("takeovers");
    let before = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let count = match takeover {
        Takeover::SameVersion { .. } | Takeover::Migrated { .. } => before + 1,
        Takeover::Fresh | Takeover::StartedAfresh { .. } => before,
    };
    if let Err(error) = std::fs::write(&file, format!("{count}\n")) {
        tracing::warn!("{}: {error}", file.display());
    }
    count
}

/// Metrics that cannot be served must not keep the agent from starting; an address may come, and a port become free.
async fn serve_metrics(daemon: Arc<Daemon>) {
    let mut said = String::new();
    let listener = loop {
        match metrics_listener(&daemon.config()).await {
            Ok(Some(listener)) => break listener,
            Ok(None) => return,
            Err(error) if error.to_string() != said => {
                said = error.to_string();
                tracing::error!("metrics are not served until this is mended: {said}");
            }
            Err(_said) => {}
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    };
    metrics::serve(listener, move || daemon.metrics()).await;
}

async fn metrics_listener(config: &Config) -> io::Result<Option<Listener>> {
    match config.metrics {
        MetricsAt::Off => Ok(None),
        MetricsAt::Unix => {
            let socket = config.runtime_dir.join("metrics.sock");
            for_readers(&socket, &config.read_group).map(Listener::Unix).map(Some)
        }
        MetricsAt::Tcp(address) => match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(Listener::Tcp(listener))),
            Err(error) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
        },
    }
}

/// A state file that cannot be read must not keep the agent, and with it every login, from coming back.
fn read_state(file: &StateFile) -> Stored {
    file.read().unwrap_or_else(|error| {
        tracing::error!("locks and mode set by command are forgotten: {error}");
        Stored::default()
    })
}

fn spawn(daemon: &Arc<Daemon>, sockets: Sockets) -> Result<JoinSet<()>, StartError> {
    let mut tasks = JoinSet::new();
    tasks.spawn(hooks(Arc::clone(daemon), sockets.principals, Hook::Principals));
    tasks.spawn(hooks(Arc::clone(daemon), sockets.pam, Hook::Pam));
    tasks.spawn(callers(Arc::clone(daemon), sockets.admin, Rights::All));
    tasks.spawn(callers(Arc::clone(daemon), sockets.read, Rights::Read));
    tasks.spawn(super::relayed::calls(Arc::clone(daemon), sockets.relay));
    tasks.spawn(sweep::sweeps(Arc::clone(daemon)));
    tasks.spawn(sweep::deadlines(Arc::clone(daemon)));
    tasks.spawn(super::attach::follow(Arc::clone(daemon)));
    tasks.spawn(follow::follow(Arc::clone(daemon)));
    tasks.spawn(farewells(Arc::clone(daemon)));
    tasks.spawn(sweep::packet_events(Arc::clone(daemon))?);
    if daemon.vouching.is_some() {
        let departures = lock(&daemon.datapath).departures()?;
        tasks.spawn(vouching::departures(Arc::clone(daemon), departures));
    }
    if daemon.config().knocks.is_some() {
        tasks.spawn(knock::hear(Arc::clone(daemon))?);
    }
    if daemon.config().kernel_log != KernelLog::Off
        && let Some(log) = lock(&daemon.datapath).kernel_log()?
    {
        tasks.spawn(
            async move { tracing::error!("what the kernel programs say cannot be read: {}", log.await) },
        );
    }
    Ok(tasks)
}

/// SIGHUP reloads; SIGTERM and SIGINT end.
/// A task that ends by itself is a fault: systemd starts a new agent, which takes over.
async fn wait_for_the_end(daemon: &Arc<Daemon>, tasks: &mut JoinSet<()>) -> io::Result<()> {
    let mut reloads = signal(SignalKind::hangup())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminations.recv() => return Ok(()),
            _ = interrupts.recv() => return Ok(()),
            _ = reloads.recv() => reload::reload(daemon),
            Some(Err(panicked)) = tasks.join_next() => {
                return Err(io::Error::other(format!("a task of the agent's has ended: {panicked}")));
            }
        }
    }
}

impl Daemon {
    fn started(&self) {
        let what = What::AgentStarted { takeover: self.takeover.clone(), sessions: self.sessions.len() };
        self.audit.write(what, Subject::default());
        notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Locks may have been set for sessions that were live when the agent died in between.
    fn enforce_locks(&self) {
        let locks = self.locks().list();
        for set in locks.iter() {
            self.sessions.cut_locked(set);
        }
    }
}

/// Tells systemd, where it started us.
pub(super) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd was not told: {error}");
    }
}
