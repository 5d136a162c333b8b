//! The periodic work: sessions that end, deadlines, strangers, locks and modes that run out.

use super::strangers::Look;
use super::{Daemon, lock, start};
use crate::audit::{What, of_source};
use crate::clock;
use crate::config::Config;
use crate::connections;
use crate::datapath::Error;
use agent_ebpf::{Flow, FlowKey, Reason};
use cotter_hook::connection::{Ended, destroy_flow};
use cotter_hook::unmanaged;
use pinning::Mode;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two sweeps, at least.
const SWEEP: Duration = Duration::from_secs(1);
/// And at most: each tells systemd's watchdog that the agent is well, and what a sweep notices should not wait longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Between two looks at connections without a session.
const STRANGERS: Duration = Duration::from_secs(5);
/// Between two reports of what was dropped.
const REPORT: Duration = Duration::from_secs(60);

/// Sweeps until the daemon ends.
pub(super) async fn sweeps(daemon: Arc<Daemon>) {
    let (mut strangers, mut report) = (Instant::now(), Instant::now());
    loop {
        let began = Instant::now();
        let worker = Arc::clone(&daemon);
        let (look, tell) = (strangers.elapsed() >= STRANGERS, report.elapsed() >= REPORT);
        let swept = tokio::task::spawn_blocking(move || worker.sweep(look, tell)).await;
        if let Err(error) = swept {
            tracing::error!("a sweep failed: {error}");
        }
        if look {
            strangers = Instant::now();
        }
        if tell {
            report = Instant::now();
        }
        start::notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(pause_after(began.elapsed())).await;
    }
}

/// Sweeps take no more than a twentieth of a core, unless each takes longer than half a second: such as one in which a
/// kernel program had to be loaded.
fn pause_after(sweep: Duration) -> Duration {
    (sweep * 20).clamp(SWEEP, LONGEST)
}

/// Cuts sessions, and ends a mode on trial, at the moment at which they end.
pub(super) async fn deadlines(daemon: Arc<Daemon>) {
    loop {
        // New sessions may end sooner than any known one, so look again every second.
        let worker = Arc::clone(&daemon);
        let wait = tokio::task::spawn_blocking(move || {
            worker.end_what_is_due();
            worker.until_next_end()
        });
        let wait = wait.await.unwrap_or_else(|error| {
            tracing::error!("what ended was not cut: {error}");
            SWEEP
        });
        tokio::time::sleep(wait.max(Duration::from_millis(5))).await;
    }
}

/// Reports the first drop of each session, and drops that belong to no session.
///
/// # Errors
/// The kernel's event buffer cannot be read.
pub(super) fn packet_events(daemon: Arc<Daemon>) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let mut events = lock(&daemon.datapath).events()?;
    Ok(async move {
        while let Ok(event) = events.next().await {
            daemon.packet_dropped(&event);
        }
        tracing::error!("the kernel's events can no longer be read; drops are still counted");
    })
}

impl Daemon {
    fn sweep(self: &Arc<Self>, look_at_strangers: bool, report: bool) {
        self.sessions.sweep();
        self.end_trial();
        self.sweep_locks();
        self.tell_of_ended();
        self.penalties.remove_ended();
        self.audit.summarise();
        if let Err(error) = self.tables.allow_events() {
            tracing::warn!("drops are counted, but not told any more: {error}");
        }
        if look_at_strangers {
            self.look_at_strangers(false);
            self.attach();
            self.keep_again();
            self.look_for_host_keys();
            self.settle_way_back(&self.config(), false);
            // Others may have taken its pin away.
            self.steer(&self.config());
        }
        if report {
            self.sessions.report_drops();
        }
    }

    /// Locks run out, and come back where a clock that was ahead had ended them.
    fn sweep_locks(&self) {
        let (new, gone) = self.locks().look_at_the_clock(clock::unix());
        if new.is_empty() && gone.is_empty() {
            return;
        }
        self.locks_changed(new, gone);
        if let Err(error) = self.store() {
            tracing::warn!("locks that ran out are still stored: {error}");
        }
    }

    /// Ends a trial that has run out: the kernel went back by itself at that moment, the rest follows.
    fn end_trial(&self) {
        let over = lock(&self.mode).trial_is_over(Instant::now());
        if over {
            // A failure is logged; the kernel's own clock has the last word.
            let _logged = self.change_mode("not confirmed in time", |mode| mode.end_trial(Instant::now()));
        }
    }

    /// How long it is until something ends by itself, at most one sweep.
    fn until_next_end(&self) -> Duration {
        let session = self.sessions.next_end().map_or(SWEEP, clock::until);
        let trial = lock(&self.mode).until_trial_ends(Instant::now()).unwrap_or(SWEEP);
        session.min(trial).min(SWEEP)
    }

    fn end_what_is_due(&self) {
        self.sessions.cut_expired();
        self.end_trial();
    }

    /// Ends connections that stay on a login port without a session. At the agent's start, and while nothing is
    /// enforced, connections are taken as they are.
    pub(super) fn look_at_strangers(&self, at_start: bool) {
        let config = self.config();
        // Marks and sessions first, connections after: what comes in between is then looked at next time.
        let marked: HashSet<u64> =
            unmanaged::list(&config.runtime_dir).unwrap_or_default().into_iter().collect();
        let of_sessions = self.sessions.connections();
        let all = match connections::list(&config.ways_in()) {
            Ok(all) => all,
            Err(error) => return tracing::warn!("connections to login ports cannot be listed: {error}"),
        };
        // What a balancer has connected lives as long as what it leads to.
        let let_in = all.iter().filter(|it| marked.contains(&it.cookie)).copied();
        let exempted: HashSet<u64> = self.outer_of(let_in).union(&marked).copied().collect();
        let here: HashSet<u64> = all.iter().map(|connection| connection.cookie).collect();
        self.forget_gone(of_sessions, &here);
        for gone in marked.iter().filter(|cookie| !here.contains(cookie)) {
            // A mark that stays behind is a few bytes in memory until the next boot.
            let _removed = unmanaged::remove(&config.runtime_dir, *gone);
        }
        let known: HashSet<u64> = self.sessions.connections().iter().map(|it| it.cookie).collect();
        let exempt =
            |ip: IpAddr| ip.is_loopback() || config.never_drop.iter().any(|network| network.contains(&ip));
        let without_session =
            all.into_iter().filter(|it| !known.contains(&it.cookie) && !exempt(it.peer.ip()));
        let look = Look {
            without_session: without_session.collect(),
            marked: &exempted,
            lenient: at_start || self.mode() != Mode::Enforce,
            grace: config.login_grace_time,
        };
        let overdue = lock(&self.strangers).look(&look, Instant::now());
        for connection in overdue {
            self.end_stranger(connection);
        }
        self.keep_open(&config);
    }

    /// Whoever is connected to a login port and is not the agent's to end is not shut out by a gate before it either.
    fn keep_open(&self, config: &Config) {
        let gated: Vec<u16> = config.gated_login_ports().collect();
        for address in lock(&self.strangers).unmanaged_at(&gated) {
            if let Err(error) = self.sessions.knocked(address, config.login_grace_time, None) {
                tracing::warn!("{address} is connected and may be shut out by a gate: {error}");
            }
        }
    }

    /// Forgets flows whose sockets were missing twice in a row: one list is not taken at one moment. A connection to a
    /// port that is no longer a login port is not listed, which says nothing.
    fn forget_gone(&self, of_sessions: Vec<connections::Connection>, here: &HashSet<u64>) {
        let ports = self.config().ways_in();
        let absent =
            |it: &connections::Connection| ports.contains(&it.local.port()) && !here.contains(&it.cookie);
        let missing: Vec<_> = of_sessions.into_iter().filter(absent).collect();
        let cookies = missing.iter().map(|it| it.cookie).collect();
        let before = std::mem::replace(&mut *lock(&self.missing), cookies);
        let gone: Vec<_> = missing.into_iter().filter(|it| before.contains(&it.cookie)).collect();
        self.sessions.forget(&gone);
    }

    /// In the kernel first, then the socket.
    fn end_stranger(&self, connection: connections::Connection) {
        let key = FlowKey::tcp(connection.peer, connection.local);
        if let Err(error) = self.tables.insert_flow(&key, &Flow::cut(connection.cookie)) {
            tracing::warn!("{}: its packets could not be stopped: {error}", connection.peer);
        }
        match destroy_flow(connection.local, connection.peer, connection.cookie) {
            Ok(Ended::Destroyed | Ended::ShutDown) => {}
            Ok(Ended::Gone) => self.forget_closed(&key, connection),
            Err(error) => tracing::warn!("{}: its socket could not be closed: {error}", connection.peer),
        }
        let subject = of_source(Some(connection.peer.ip()));
        self.audit
            .write(What::ConnectionCut { cause: "no session within the grace time".to_owned() }, subject);
    }

    /// Takes away the flow of a connection that was closed before its flow was there: nobody else does. One that is only not
    /// found by its addresses, such as one bound to a device, keeps it.
    fn forget_closed(&self, key: &FlowKey, connection: connections::Connection) {
        let is_open = connections::list(&[connection.local.port()])
            .map_or(true, |all| all.iter().any(|it| it.cookie == connection.cookie));
        if is_open {
            return;
        }
        if let Err(error) = self.tables.remove_flow(key, connection.cookie) {
            tracing::warn!("{}: what follows it is stopped too: {error}", connection.peer);
        }
    }

    /// A drop that the kernel reports: of a session the first is written, the others are summed up.
    fn packet_dropped(&self, event: &agent_ebpf::Event) {
        let overruled = event.overruled().is_some();
        let reason = event.overruled().or(event.reason()).map_or("unknown", Reason::name).to_owned();
        match event.session() {
            Some(id) => self.sessions.report_first_drop(id.into(), reason, overruled),
            None => self.audit.drop_of_stranger(event.source().ip(), reason, overruled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sweep_is_followed_by_a_long_pause_but_never_by_one_that_the_watchdog_would_take_for_death() {
        assert_eq!(pause_after(Duration::from_millis(1)), SWEEP);
        assert_eq!(pause_after(Duration::from_millis(100)), Duration::from_secs(2));
        assert_eq!(pause_after(Duration::from_secs(8)), LONGEST);
    }
}
