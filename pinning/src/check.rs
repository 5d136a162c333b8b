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

/// Whoever knocks: a certificate at an address. A knock names no login.
#[derive(Debug, Clone)]
pub struct Knocker<'a> {
    /// The certificate's bytes.
    pub certificate: &'a [u8],
    /// Where it comes from.
    pub observed: Observed,
    /// The time, in Unix seconds.
    pub now: u64,
    /// The locks there are; those that have ended are passed over.
    pub locks: &'a [Lock],
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
        let checked = self.check(login, &mut found).map(Some);
        found.judgement(checked, login.observed.clone())
    }

    /// Judges a knock by all the rules but those about login names. Pure, as [`Policy::judge`]. An allowed one has no terms:
    /// its login is judged when it comes.
    pub fn judge_knock(&self, knock: &Knocker<'_>) -> Judgement {
        let mut found = Findings::default();
        let checked = self.check_knock(knock, &mut found).map(|()| None);
        found.judgement(checked, Some(knock.observed.clone()))
    }

    /// The rules, in the order in which they are reported.
    fn check(&self, login: &Login<'_>, found: &mut Findings) -> Result<Terms, Denial> {
        let certificate = Certificate::parse(login.certificate)?;
        let (cluster, pins) = self.require_sound(&certificate, login.now, found)?;
        let admitted = admit(cluster, &certificate, login)?;
        found.require_unlocked(login.locks, login.login, login.observed.as_ref(), login.now)?;
        let roles = self.require_roles(cluster, &certificate, found)?;
        login_rule::require_allowed(&roles, login.login, &admitted)?;
        let pins = require_pinned(&roles, pins, login.observed.as_ref())?;
        Ok(terms(cluster, &roles, certificate.valid_before(), admitted, pins))
    }

    /// Those that a knock can be judged by.
    fn check_knock(&self, knock: &Knocker<'_>, found: &mut Findings) -> Result<(), Denial> {
        let certificate = Certificate::from_blob(knock.certificate.to_vec())?;
        let (cluster, pins) = self.require_sound(&certificate, knock.now, found)?;
        found.require_unlocked(knock.locks, "", Some(&knock.observed), knock.now)?;
        let roles = self.require_roles(cluster, &certificate, found)?;
        require_pinned(&roles, pins, Some(&knock.observed)).map(drop)
    }

    /// The rules about the certificate itself: whose it is, and its pins.
    fn require_sound(
        &self,
        certificate: &Certificate,
        now: u64,
        found: &mut Findings,
    ) -> Result<(&Cluster, Option<Pins>), Denial> {
        let identity = found.identity.insert(certificate.identity());
        certificate.require_user()?;
        let cluster = self.require_trusted(certificate)?;
        identity.cluster = Some(cluster.name.clone());
        certificate.verify_signature()?;
        certificate.require_valid_at(now)?;
        certificate.require_known_options()?;
        Ok((cluster, certificate.pins()?))
    }

    fn require_trusted(&self, certificate: &Certificate) -> Result<&Cluster, Denial> {
        self.cluster_of(certificate.ca()).ok_or_else(|| {
            let ca = certificate.identity().ca;
            Denial::new(LoginReason::CaUntrusted, format!("no cluster trusts the authority {ca}"))
        })
    }

    fn require_roles(
        &self,
        cluster: &Cluster,
        certificate: &Certificate,
        found: &mut Findings,
    ) -> Result<Vec<&Role>, Denial> {
        found.roles = role_source::roles_of(cluster, certificate)?;
        if found.roles.is_empty() {
            return Err(Denial::new(LoginReason::NoRoles, "no role is left"));
        }
        let known = |name: &String| {
            let unknown =
                || Denial::new(LoginReason::RoleUnknown, format!("role {name:?} is not known here"));
            self.role(name).ok_or_else(unknown)
        };
        found.roles.iter().map(known).collect()
    }
}

impl Findings {
    /// Denies if one of the locks is laid on who was found. A login name that is empty is nobody's.
    fn require_unlocked(
        &mut self,
        locks: &[Lock],
        login: &str,
        observed: Option<&Observed>,
        now: u64,
    ) -> Result<(), Denial> {
        let identity = self.identity.as_ref();
        let subject = LockSubject {
            cluster: identity.and_then(|identity| identity.cluster.as_deref()),
            key_id: identity.map(|identity| identity.key_id.as_str()),
            serial: identity.map(|identity| identity.serial),
            login,
            session: None,
            address: observed.map(|observed| observed.address),
        };
        let Some(lock) = locks.iter().find(|lock| lock.matches(&subject, now)) else { return Ok(()) };
        self.lock = Some(lock.id.clone());
        Err(Denial::new(LoginReason::Locked, format!("lock {} on {}", lock.id, lock.target)))
    }

    fn judgement(self, checked: Result<Option<Terms>, Denial>, observed: Option<Observed>) -> Judgement {
        let (verdict, detail, terms) = match checked {
            Ok(terms) => (Verdict::Allow, LoginReason::Allowed.explain().to_owned(), terms),
            Err(denial) => (Verdict::Deny(denial.reason), denial.detail, None),
        };
        Judgement {
            verdict,
            detail,
            pinned: self.identity.as_ref().and_then(|identity| identity.pins.clone()),
            identity: self.identity,
            roles: self.roles,
            observed,
            lock: self.lock,
            terms,
        }
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
