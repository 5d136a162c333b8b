//! PAM open_session: the key is proven, the certificate is at hand; a login becomes a session here or not at all.

use super::auth_info::{Method, methods};
use super::judge::{is_proven, judge, role_mode, subject};
use super::principals::penalise;
use crate::audit::{Step, Subject, What};
use crate::config::OtherLogins;
use crate::connections::Connection as Ends;
use crate::daemon::{Carried, Daemon};
use crate::session::{OpenError, Opening, Room};
use cotter_hook::connection::Connection;
use cotter_hook::monitor::Monitor;
use cotter_hook::protocol::{Open, Reply};
use cotter_hook::unmanaged;
use pinning::{Judgement, LoginReason, Mode, Observed, OnNewAddress, PinEndpoints, Verdict};
use std::time::Instant;

/// A login that PAM asks about.
struct Attempt<'a> {
    request: &'a Open,
    connection: &'a Connection,
    observed: Observed,
    /// What it came by, where it was relayed.
    carried: Option<Carried>,
    /// The sshd process that serves the connection.
    monitor: u32,
    /// From then on the hook waits no more.
    deadline: Instant,
}

/// What is known of the login when it is decided.
struct Decision {
    /// `allowed`, or the first thing that is wrong.
    reason: LoginReason,
    /// What is wrong in this very case, for the user; may be empty.
    detail: String,
    opening: Opening,
}

/// Decides, and puts the session into the kernel's maps if it may be.
///
/// What is decided after `deadline` comes too late: the hook has given up, and nothing may be recorded.
pub(crate) fn open(daemon: &Daemon, monitor: &Monitor, request: &Open, deadline: Instant) -> Reply {
    let node = daemon.mode();
    let connection = match connection(daemon, monitor, request) {
        Ok(connection) => connection,
        Err(text) => return Reply::Error { text },
    };
    if node == Mode::Off {
        return unrecorded(daemon, &connection);
    }
    let Some((observed, carried)) = daemon.observe(connection.local, connection.peer) else {
        return unknown(daemon, request, &connection);
    };
    let monitor = monitor.process.pid.as_raw_nonzero().get().unsigned_abs();
    let decision =
        decide(daemon, &Attempt { request, connection: &connection, observed, carried, monitor, deadline });
    if Instant::now() >= deadline {
        return Reply::Error { text: "decided too late".to_owned() };
    }
    let mode = node.min(decision.opening.mode);
    match (decision.reason, mode) {
        _ if request.break_glass => keep(daemon, decision.opening, LoginReason::Allowed, &connection),
        (LoginReason::Allowed, _) => allow(daemon, decision, mode, &connection),
        (reason, Mode::Enforce) => deny(daemon, reason, &decision, &connection),
        (reason, Mode::Audit | Mode::Off) => {
            daemon.audit.deny(reason, Step::Session, true, decision.opening.subject.clone());
            keep(daemon, decision.opening, reason, &connection)
        }
    }
}

/// The connection that the login came in by, as the kernel tells it and the hook agrees.
fn connection(daemon: &Daemon, monitor: &Monitor, request: &Open) -> Result<Connection, String> {
    let found = monitor.connection(&daemon.config().login_ports);
    let found = found.map_err(|error| format!("no connection to pin: {error}")).and_then(|connection| {
        let agreed = request.cookie.is_none_or(|cookie| cookie == connection.cookie);
        if agreed {
            Ok(connection)
        } else {
            Err("the hook sees another connection than the agent".to_owned())
        }
    });
    found.inspect_err(|error| {
        tracing::warn!("session of {:?}: {error}", request.user);
        let subject = Subject { login: Some(request.user.clone()), ..Subject::default() };
        let overruled = daemon.mode() != Mode::Enforce;
        daemon.audit.deny(LoginReason::ObservedAddressUnknown, Step::Session, overruled, subject);
    })
}

/// A relayed connection of which nobody has said whose it is: no login but with a break-glass key, where that counts.
fn unknown(daemon: &Daemon, request: &Open, connection: &Connection) -> Reply {
    tracing::warn!(
        "session of {:?} from {}: the relay has not said whose it is",
        request.user,
        connection.peer
    );
    let (reason, node) = (LoginReason::ObservedAddressUnknown, daemon.mode());
    let subject = Subject { login: Some(request.user.clone()), ..Subject::default() };
    if node == Mode::Enforce && !request.break_glass {
        return denial(daemon, reason, subject, "the relay has not said where you are", connection);
    }
    daemon.audit.deny(reason, Step::Session, true, subject);
    unrecorded(daemon, connection)
}

/// Judges every way in which the user proved who they are; the first that is wrong counts.
fn decide(daemon: &Daemon, attempt: &Attempt<'_>) -> Decision {
    let (request, observed) = (attempt.request, &attempt.observed);
    let text = String::from_utf8_lossy(&request.auth_info);
    let Some(methods) = methods(&text) else {
        let opening = other_opening(attempt);
        return Decision { reason: LoginReason::MalformedCertificate, detail: String::new(), opening };
    };
    let judged: Vec<Judgement> = methods
        .iter()
        .filter_map(|method| match method {
            Method::Certificate(certificate) => Some(judge(daemon, certificate, &request.user, observed)),
            Method::Key(_) | Method::Other(_) => None,
        })
        .collect();
    let bare_key = methods.iter().any(|method| matches!(method, Method::Key(_)));
    let without = judged.is_empty() || bare_key;
    let other_denied = without && daemon.config().other_logins == OtherLogins::Deny;
    let ends_at = judged.iter().filter_map(|judgement| judgement.terms.as_ref()?.ends_at).min();
    match judged.into_iter().reduce(worse) {
        Some(judgement) if denied(&judgement).is_some() || !other_denied => {
            of_certificate(daemon, judgement, ends_at, attempt)
        }
        _ => {
            let opening = other_opening(attempt);
            let locked = daemon.locks().matches_other(&request.user, observed.address);
            let reason = match (locked, other_denied) {
                (true, _) => LoginReason::Locked,
                (false, true) => LoginReason::NoCertificate,
                (false, false) => LoginReason::Allowed,
            };
            Decision { reason, detail: String::new(), opening }
        }
    }
}

fn denied(judgement: &Judgement) -> Option<LoginReason> {
    match judgement.verdict {
        Verdict::Allow => None,
        Verdict::Deny(reason) => Some(reason),
    }
}

/// The one that denies; the first if both do or neither.
fn worse(first: Judgement, second: Judgement) -> Judgement {
    if denied(&first).is_none() && denied(&second).is_some() { second } else { first }
}

fn of_certificate(
    daemon: &Daemon,
    judgement: Judgement,
    ends_at: Option<u64>,
    attempt: &Attempt<'_>,
) -> Decision {
    let terms = judgement.terms.as_ref();
    let mut subject = subject(&judgement, Some(&attempt.request.user));
    if !is_proven(&judgement) {
        // Let in by audit mode, but as nobody: a claim must not end the sessions of the person it names.
        (subject.cluster, subject.user, subject.serial) = (None, None, None);
    }
    let opening = Opening {
        subject,
        pins: judgement.pinned.clone(),
        ends_at,
        on_new_address: terms.map_or(OnNewAddress::Keep, |terms| terms.on_new_address),
        pin_endpoints: terms.map_or(PinEndpoints::DEFAULT, |terms| terms.pin_endpoints),
        mode: role_mode(daemon, &judgement),
        leads: denied(&judgement).is_none(),
        break_glass: attempt.request.break_glass,
        connection: ends(attempt.connection),
        outer: attempt.carried.as_ref().map(|carried| carried.outer),
        via: attempt.carried.as_ref().and_then(|carried| carried.via.clone()),
        monitor: attempt.monitor,
        deadline: attempt.deadline,
    };
    let reason = denied(&judgement).unwrap_or(LoginReason::Allowed);
    Decision { reason, detail: judgement.detail, opening }
}

/// A login without a certificate: nobody's pin, but a session that can be listed, locked and cut.
fn other_opening(attempt: &Attempt<'_>) -> Opening {
    let observed = &attempt.observed;
    let subject = Subject {
        login: Some(attempt.request.user.clone()),
        observed: Some(observed.address.to_string()),
        observed_how: Some(observed.how.to_string()),
        ..Subject::default()
    };
    Opening {
        subject,
        pins: None,
        ends_at: None,
        on_new_address: OnNewAddress::Keep,
        pin_endpoints: PinEndpoints::DEFAULT,
        mode: Mode::Enforce,
        leads: false,
        break_glass: attempt.request.break_glass,
        connection: ends(attempt.connection),
        outer: attempt.carried.as_ref().map(|carried| carried.outer),
        via: attempt.carried.as_ref().and_then(|carried| carried.via.clone()),
        monitor: attempt.monitor,
        deadline: attempt.deadline,
    }
}

fn ends(connection: &Connection) -> Ends {
    Ends { local: connection.local, peer: connection.peer, cookie: connection.cookie }
}

/// Opens the session; what cannot be recorded is denied.
fn allow(daemon: &Daemon, decision: Decision, mode: Mode, connection: &Connection) -> Reply {
    let subject = decision.opening.subject.clone();
    match insert(daemon, decision.opening) {
        Ok(()) => {
            daemon
                .audit
                .write(What::LoginAllowed { reason: LoginReason::Allowed, break_glass: false }, subject);
            Reply::Allow { message: None }
        }
        Err((reason, detail)) if mode == Mode::Enforce => {
            denial(daemon, reason, subject, &detail, connection)
        }
        Err((reason, _detail)) => {
            daemon.audit.deny(reason, Step::Session, true, subject);
            unrecorded(daemon, connection)
        }
    }
}

/// Lets it in whatever was found, and records it if that is possible.
fn keep(daemon: &Daemon, opening: Opening, reason: LoginReason, connection: &Connection) -> Reply {
    let (subject, break_glass) = (opening.subject.clone(), opening.break_glass);
    let recorded = insert(daemon, opening);
    daemon.audit.write(What::LoginAllowed { reason, break_glass }, subject);
    match recorded {
        Ok(()) => Reply::Allow { message: None },
        Err(_said) => unrecorded(daemon, connection),
    }
}

/// Lets it in without a session, and leaves word that the connection is not to be ended for that.
fn unrecorded(daemon: &Daemon, connection: &Connection) -> Reply {
    if let Err(error) = unmanaged::mark(&daemon.config().runtime_dir, connection.cookie) {
        tracing::warn!("{}: an unrecorded login may be ended later: {error}", connection.peer);
    }
    Reply::Allow { message: None }
}

/// Into the maps; then locks are looked at once more, since one may have been set while the login was judged. Why not, and
/// what the user is told of it.
fn insert(daemon: &Daemon, opening: Opening) -> Result<(), (LoginReason, String)> {
    let config = daemon.config();
    let room = Room { sessions: config.max_sessions, per_person: config.max_sessions_per_person };
    let opened = daemon.sessions.open(opening, room);
    if let Err(OpenError::AlreadyOpen) = opened {
        // PAM's configuration names the hook twice.
        return Ok(());
    }
    let id = opened.map_err(|error| {
        tracing::warn!("session not opened: {error}");
        match error {
            OpenError::TooMany { .. } => (LoginReason::TableFull, error.to_string()),
            OpenError::TableFull | OpenError::Kernel(_) | OpenError::Random(_) => {
                (LoginReason::TableFull, String::new())
            }
            OpenError::Names(_) => (LoginReason::MalformedCertificate, String::new()),
            OpenError::Connection | OpenError::AlreadyOpen | OpenError::Late => {
                (LoginReason::ObservedAddressUnknown, String::new())
            }
        }
    })?;
    if daemon.cut_if_locked(id) { Err((LoginReason::Locked, String::new())) } else { Ok(()) }
}

fn deny(daemon: &Daemon, reason: LoginReason, decision: &Decision, connection: &Connection) -> Reply {
    denial(daemon, reason, decision.opening.subject.clone(), &decision.detail, connection)
}

fn denial(
    daemon: &Daemon,
    reason: LoginReason,
    subject: Subject,
    detail: &str,
    connection: &Connection,
) -> Reply {
    daemon.audit.deny(reason, Step::Session, false, subject);
    // A full table or a connection that is gone is not its source's fault.
    if !matches!(reason, LoginReason::TableFull | LoginReason::ObservedAddressUnknown) {
        penalise(daemon, connection);
    }
    let why = match reason.remedy() {
        Some(remedy) if !detail.is_empty() => format!("{detail}: {remedy}"),
        _ => reason.explain().to_owned(),
    };
    Reply::Deny { message: format!("cotter: {reason}: {why}") }
}
