//! The check: whether a login is allowed. What is wrong first is reported.

use crate::principal::{self, Admitted};
use crate::{
    Certificate, Cluster, Denial, Identity, Judgement, Lock, LockSubject, LoginReason, Observed, OnExpiry,
    OnNewAddress, PinEndpoints, Pins, Policy, Role, Terms, Verdict, login_rule, role_source,
};

/// A login to be judged.
#[derive(Clone)]
pub struct Login<'a> {
    /// The certificate: `ssh-…-cert-v01@openssh.com AAAA… [comment]`, or the bare base64 blob.
    pub certificate: &'a str,
    /// The login name on the node.
    pub login: &'a str,
    /// Where the client is; `None` if nobody can vouch for it.
    pub observed: Option<Observed>,
    /// The time, in Unix seconds.
    pub now: u64,
    /// The locks there are; those that have ended are passed over.
    pub locks: &'a [Lock],
    /// Reads the principals file of a login: given the cluster's template (`%u` and the like unexpanded) and the login,
    /// the file's content, or why it cannot be had.
    pub principals_file: &'a dyn Fn(&str, &str) -> Result<String, String>,
}

/// What the check came to know on its way, whatever its end.
#[derive(Default)]
struct Findings {
    identity: Option<Identity>,
    roles: Vec<String>,
    lock: Option<String>,
}

impl Policy {
    /// Judges a login by all the rules. Pure: the same login and policy give the same judgement.
    pub fn judge(&self, login: &Login<'_>) -> Judgement {
        let mut found = Findings::default();
        let (verdict, detail, terms) = match self.check(login, &mut found) {
            Ok(terms) => (Verdict::Allow, LoginReason::Allowed.explain().to_owned(), Some(terms)),
            Err(denial) => (Verdict::Deny(denial.reason), denial.detail, None),
        };
        Judgement {
            verdict,
            detail,
            pinned: found.identity.as_ref().and_then(|identity| identity.pins.clone()),
            identity: found.identity,
            roles: found.roles,
            observed: login.observed.clone(),
            lock: found.lock,
            terms,
        }
    }

    /// The rules, in the order in which they are reported.
    fn check(&self, login: &Login<'_>, found: &mut Findings) -> Result<Terms, Denial> {
        let certificate = Certificate::parse(login.certificate)?;
        let identity = found.identity.insert(certificate.identity());
        certificate.require_user()?;
        let cluster = self.require_trusted(&certificate)?;
        identity.cluster = Some(cluster.name.clone());
        certificate.verify_signature()?;
        certificate.require_valid_at(login.now)?;
        certificate.require_known_options()?;
        let pins = certificate.pins()?;
        let admitted = admit(cluster, &certificate, login)?;
        if let Some(lock) = lock_on(login, identity) {
            found.lock = Some(lock.id.clone());
            return Err(Denial::new(LoginReason::Locked, format!("lock {} on {}", lock.id, lock.target)));
        }
        found.roles = role_source::roles_of(cluster, &certificate)?;
        let roles = self.require_roles(&found.roles)?;
        login_rule::require_allowed(&roles, login.login, &admitted)?;
        let pins = require_pinned(&roles, pins, login.observed.as_ref())?;
        Ok(terms(cluster, &roles, identity.valid_before, admitted, pins))
    }

    fn require_trusted(&self, certificate: &Certificate) -> Result<&Cluster, Denial> {
        self.cluster_of(certificate.ca()).ok_or_else(|| {
            let ca = certificate.identity().ca;
            Denial::new(LoginReason::CaUntrusted, format!("no cluster trusts the authority {ca}"))
        })
    }

    fn require_roles(&self, names: &[String]) -> Result<Vec<&Role>, Denial> {
        if names.is_empty() {
            return Err(Denial::new(LoginReason::NoRoles, "no role is left"));
        }
        let known = |name: &String| {
            let unknown =
                || Denial::new(LoginReason::RoleUnknown, format!("role {name:?} is not known here"));
            self.role(name).ok_or_else(unknown)
        };
        names.iter().map(known).collect()
    }
}

fn admit(cluster: &Cluster, certificate: &Certificate, login: &Login<'_>) -> Result<Admitted, Denial> {
    let Some(template) = &cluster.principals_file else {
        return principal::by_name(certificate.principals(), login.login);
    };
    let content = (login.principals_file)(template, login.login).map_err(|why| {
        Denial::new(LoginReason::PrincipalNotAllowed, format!("the principals file: {why}"))
    })?;
    principal::by_file(certificate.principals(), &content)
}

fn lock_on<'a>(login: &Login<'a>, identity: &Identity) -> Option<&'a Lock> {
    let subject = LockSubject {
        cluster: identity.cluster.as_deref(),
        key_id: Some(&identity.key_id),
        serial: Some(identity.serial),
        login: login.login,
        session: None,
        address: login.observed.as_ref().map(|observed| observed.address),
    };
    login.locks.iter().find(|lock| lock.matches(&subject, login.now))
}

/// The pin: demanded by a role, it must be there and narrow enough for each such role; there, it must hold. Hands back
/// the pins, the network in use first.
fn require_pinned(
    roles: &[&Role],
    pins: Option<Pins>,
    observed: Option<&Observed>,
) -> Result<Option<Pins>, Denial> {
    for role in roles.iter().filter(|role| role.options.pin_source_ip) {
        let name = &role.name;
        let Some(pins) = &pins else {
            let detail = format!("role {name:?} demands a pinned address, and the certificate carries none");
            return Err(Denial::new(LoginReason::PinMissing, detail));
        };
        if let Some(wide) = pins.exceeding(role.options.pin_width) {
            let detail = format!("the certificate is pinned to {wide}, wider than role {name:?} allows");
            return Err(Denial::new(LoginReason::PinTooWide, detail));
        }
    }
    let Some(pins) = pins else { return Ok(None) };
    let Some(observed) = observed else {
        let detail =
            format!("the certificate is pinned to {pins}, and nobody vouches for the client's address");
        return Err(Denial::new(LoginReason::ObservedAddressUnknown, detail));
    };
    if pins.contains(observed.address) {
        return Ok(Some(pins.led_by(observed.address)));
    }
    let detail = format!("the certificate is pinned to {pins}, the client is at {observed}");
    Err(Denial::new(LoginReason::PinMismatch, detail))
}

fn terms(
    cluster: &Cluster,
    roles: &[&Role],
    valid_before: u64,
    admitted: Admitted,
    pins: Option<Pins>,
) -> Terms {
    let options = || roles.iter().map(|role| &role.options);
    let cut = cluster.on_expiry == OnExpiry::Cut || options().any(|options| options.disconnect_expired_cert);
    Terms {
        principal_line: admitted.line,
        ends_at: (cut && valid_before != u64::MAX).then_some(valid_before),
        on_new_address: options()
            .filter_map(|options| options.on_new_address)
            .max()
            .unwrap_or(OnNewAddress::Keep),
        pin_endpoints: options()
            .filter_map(|options| options.pin_endpoints)
            .max()
            .unwrap_or(PinEndpoints::DEFAULT),
        mode: options().filter_map(|options| options.mode).max(),
        pins,
    }
}

#[cfg(test)]
mod tests;
