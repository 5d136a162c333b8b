//! Judges one certificate of one login, with all that is in force.

use crate::audit::Subject;
use crate::clock;
use crate::daemon::Daemon;
use pinning::{Judgement, Login, LoginReason, Mode, Observed};

/// The judgement, by the rules, roles, locks and clock of this moment.
pub(super) fn judge(daemon: &Daemon, certificate: &str, login: &str, observed: &Observed) -> Judgement {
    // Copied out first: nothing that a stranger can trigger is done while others wait for the locks.
    let locks = daemon.locks().list();
    daemon.config().policy.judge(&Login {
        certificate,
        login,
        observed: Some(observed.clone()),
        now: clock::unix(),
        locks: &locks,
        principals_file: &principals_file,
    })
}

/// A cluster's principals file for a login, as text.
pub(crate) fn principals_file(template: &str, login: &str) -> Result<String, String> {
    let content = cotter_hook::principals_file::read(template, login).map_err(|error| error.to_string())?;
    String::from_utf8(content).map_err(|error| format!("{template}: {error}"))
}

/// The mode for this login: the node's, or that of the person's roles if it is weaker; of several roles the
/// strictest counts.
pub(super) fn mode_for(daemon: &Daemon, judgement: &Judgement, node: Mode) -> Mode {
    node.min(role_mode(daemon, judgement))
}

/// The mode that the roles ask for; one that names none asks for enforce, and so does one that is not known here.
pub(super) fn role_mode(daemon: &Daemon, judgement: &Judgement) -> Mode {
    let config = daemon.config();
    let mode =
        |name: &String| config.policy.role(name).and_then(|role| role.options.mode).unwrap_or(Mode::Enforce);
    judgement.roles.iter().map(mode).max().unwrap_or(Mode::Enforce)
}

/// Whether who the certificate speaks for is proven: the authority's signature was found good.
pub(crate) fn is_proven(judgement: &Judgement) -> bool {
    match judgement.verdict.reason() {
        LoginReason::MalformedCertificate
        | LoginReason::NoCertificate
        | LoginReason::NotAUserCertificate
        | LoginReason::CaUntrusted
        | LoginReason::SignatureInvalid => false,
        LoginReason::Allowed
        | LoginReason::PinMissing
        | LoginReason::PinTooWide
        | LoginReason::PinMismatch
        | LoginReason::ObservedAddressUnknown
        | LoginReason::NoRoles
        | LoginReason::RoleUnknown
        | LoginReason::PrincipalNotAllowed
        | LoginReason::CertificateExpired
        | LoginReason::CertificateNotYetValid
        | LoginReason::CriticalOptionUnknown
        | LoginReason::SourceAddressInvalid
        | LoginReason::Locked
        | LoginReason::TableFull => true,
    }
}

/// Whom a judgement concerns, for the audit trail and the session's record; with the login, where one is named.
pub(crate) fn subject(judgement: &Judgement, login: Option<&str>) -> Subject {
    let identity = judgement.identity.as_ref();
    Subject {
        cluster: identity.and_then(|identity| identity.cluster.clone()),
        user: identity.map(|identity| identity.key_id.clone()),
        login: login.map(str::to_owned),
        serial: identity.map(|identity| identity.serial),
        ca: identity.map(|identity| identity.ca.clone()),
        roles: judgement.roles.clone(),
        pinned: judgement.pinned.iter().flat_map(|pins| pins.networks()).map(ToString::to_string).collect(),
        observed: judgement.observed.as_ref().map(|observed| observed.address.to_string()),
        observed_how: judgement.observed.as_ref().map(|observed| observed.how.to_string()),
    }
}
