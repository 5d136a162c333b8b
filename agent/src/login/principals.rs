//! AuthorizedPrincipalsCommand: runs before the key is proven, at a stranger's wish; writes nothing.

use super::judge::{judge, mode_for, subject};
use crate::audit::{Step, Subject, What, of_source};
use crate::daemon::Daemon;
use crate::source::source;
use cotter_hook::connection::Connection;
use cotter_hook::monitor::Monitor;
use cotter_hook::protocol::Reply;
use pinning::{Judgement, LoginReason, Mode, Verdict};
use std::time::Instant;

/// Longest certificate that is looked at, in bytes of base64.
const MAX_CERTIFICATE: usize = 32 * 1024;

/// The lines of an AuthorizedPrincipalsFile for this login; none denies.
pub(crate) fn principals(daemon: &Daemon, monitor: &Monitor, login: &str, certificate: &str) -> Reply {
    let mode = daemon.mode();
    if mode == Mode::Off {
        return Reply::Principals { lines: plain(daemon, login) };
    }
    let lines = match decide(daemon, monitor, login, certificate, mode) {
        Ok(line) => vec![line],
        Err(Mode::Enforce) => Vec::new(),
        Err(Mode::Audit | Mode::Off) => plain(daemon, login),
    };
    Reply::Principals { lines }
}

/// The principal's line if the login may go on, else the mode that counts for it.
fn decide(
    daemon: &Daemon,
    monitor: &Monitor,
    login: &str,
    certificate: &str,
    node: Mode,
) -> Result<String, Mode> {
    let overruled = node != Mode::Enforce;
    let of_login = || Subject { login: Some(login.to_owned()), ..Subject::default() };
    let connection = monitor.connection(&daemon.config().login_ports).map_err(|error| {
        tracing::warn!("login of {login:?}: {error}");
        daemon.audit.deny(LoginReason::ObservedAddressUnknown, Step::Principals, overruled, of_login());
        node
    })?;
    if !daemon.queries().admit(connection.cookie, Instant::now()) || certificate.len() > MAX_CERTIFICATE {
        let subject = Subject { observed: Some(connection.peer.ip().to_string()), ..of_login() };
        daemon.audit.deny(LoginReason::MalformedCertificate, Step::Principals, overruled, subject);
        return Err(node);
    }
    let Some((observed, _carried)) = daemon.observe(connection.local, connection.peer) else {
        tracing::warn!("login of {login:?} from {}: the relay has not said whose it is", connection.peer);
        daemon.audit.deny(LoginReason::ObservedAddressUnknown, Step::Principals, overruled, of_login());
        return Err(node);
    };
    let judgement = judge(daemon, certificate, login, &observed);
    let mode = mode_for(daemon, &judgement, node);
    match judgement.verdict {
        Verdict::Allow => judgement.terms.map(|terms| terms.principal_line).ok_or(mode),
        Verdict::Deny(reason) => {
            if mode != Mode::Off {
                deny(daemon, &connection, &judgement, login, reason, mode == Mode::Audit);
            }
            Err(mode)
        }
    }
}

/// Reports a denial; in enforce mode it counts against its source.
fn deny(
    daemon: &Daemon,
    connection: &Connection,
    judgement: &Judgement,
    login: &str,
    reason: LoginReason,
    overruled: bool,
) {
    daemon.audit.deny(reason, Step::Principals, overruled, subject(judgement, Some(login)));
    if !overruled {
        penalise(daemon, connection);
    }
}

/// Counts a denial; a source that has earned it is kept out, unless a live session comes from there.
pub(super) fn penalise(daemon: &Daemon, connection: &Connection) {
    let (config, address) = (daemon.config(), connection.peer.ip());
    let earned = daemon.denials().count(address, config.penalties, Instant::now());
    if !earned || address.is_loopback() || daemon.has_guests_from(source(address)) {
        return;
    }
    let lasting = config.penalties.lasting;
    if let Err(error) = daemon.penalties.add(address, lasting) {
        return tracing::warn!("{address} is not kept out: {error}");
    }
    let subject = of_source(Some(address));
    daemon.audit.write(What::Penalised { seconds: lasting.as_secs() }, subject);
}

/// What plain sshd would go by: the login name, or the lines of the file that a cluster names instead.
fn plain(daemon: &Daemon, login: &str) -> Vec<String> {
    let config = daemon.config();
    let lines = cotter_hook::principals_file::plain(config.login_names(), config.principals_files(), login);
    String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect()
}
