//! What somebody's roles give them: logins, for how long, and on what conditions.

use std::time::Duration;

use pinning::{Cidr, Observed, Role, logins_of};

use crate::store::Person;

/// How long a certificate lives if no role says.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// What somebody gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Role names.
    pub roles: Vec<String>,
    /// The certificate's principals; never empty.
    pub logins: Vec<String>,
    /// How long the certificate lives.
    pub lifetime: Duration,
    /// A pin to the observed address is mandatory.
    pub pinned: bool,
    /// A second factor is asked for.
    pub second_factor: bool,
}

/// Why somebody gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGrant {
    /// They have no roles.
    #[error("has no role")]
    NoRoles,
    /// One of their roles does not exist.
    #[error("has role {0:?}, which no role file defines")]
    RoleUnknown(String),
    /// Their roles allow no login.
    #[error("has roles that allow no login")]
    NoLogins,
    /// One of their roles gives certificates no time.
    #[error("has a role whose max_session_ttl is less than a second")]
    NoTime,
    /// A role demands a pin, and nobody vouches for the address.
    #[error("is to be pinned, and nobody vouches for the client's address")]
    AddressUnknown,
}

impl Grant {
    /// What a person's roles give, among the roles that there are.
    ///
    /// # Errors
    /// See [`NoGrant`].
    pub fn of<'r>(person: &Person, role: impl Fn(&str) -> Option<&'r Role>) -> Result<Self, NoGrant> {
        if person.roles.is_empty() {
            return Err(NoGrant::NoRoles);
        }
        let known = |name: &String| role(name).ok_or_else(|| NoGrant::RoleUnknown(name.clone()));
        let roles: Vec<&Role> = person.roles.iter().map(known).collect::<Result<_, _>>()?;
        let logins = logins_of(&roles, &person.logins);
        if logins.is_empty() {
            return Err(NoGrant::NoLogins);
        }
        let options = || roles.iter().map(|role| &role.options);
        let lifetime = options().filter_map(|options| options.max_session_ttl).min().unwrap_or(LIFETIME);
        if lifetime.as_secs() == 0 {
            return Err(NoGrant::NoTime);
        }
        Ok(Self {
            roles: person.roles.clone(),
            logins,
            lifetime,
            pinned: options().any(|options| options.pin_source_ip),
            second_factor: options().any(|options| options.require_second_factor),
        })
    }

    /// The networks that the certificate is to be bound to: if a role pins, the observed address alone, with that of the
    /// other family if it was observed too; else none.
    ///
    /// # Errors
    /// [`NoGrant::AddressUnknown`].
    pub fn pins(&self, observed: Option<&Observed>, other: Option<&Observed>) -> Result<Vec<Cidr>, NoGrant> {
        if !self.pinned {
            return Ok(Vec::new());
        }
        let observed = observed.ok_or(NoGrant::AddressUnknown)?;
        Ok(std::iter::once(observed).chain(other).map(|it| Cidr::single(it.address)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Vec<Role> {
        let role = |name: &str, options: &str| {
            format!(
                "---\nkind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {{options: {{{options}}}}}\n"
            )
        };
        let text = role("plain", "")
            + &role("pinned", "pin_source_ip: true, max_session_ttl: 1h")
            + &role("none", "max_session_ttl: 900ms")
            + &role("short", "max_session_ttl: 5m, require_second_factor: true");
        Role::parse_all(&text).unwrap()
    }

    fn person(roles: &[&str]) -> Person {
        Person {
            name: "alice".into(),
            password: None,
            totp: None,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            logins: vec!["alice".into()],
            locked: false,
        }
    }

    fn grant(names: &[&str]) -> Result<Grant, NoGrant> {
        let roles = roles();
        Grant::of(&person(names), |name| roles.iter().find(|role| role.name == name))
    }

    #[test]
    fn of_several_roles_the_strictest_counts() {
        let plain = grant(&["plain"]).unwrap();
        assert_eq!((plain.lifetime, plain.pinned, plain.second_factor), (LIFETIME, false, false));
        let all = grant(&["plain", "pinned", "short"]).unwrap();
        assert_eq!((all.lifetime, all.pinned, all.second_factor), (Duration::from_secs(300), true, true));
    }

    #[test]
    fn who_has_no_role_or_one_that_is_not_there_gets_nothing() {
        assert_eq!(grant(&[]), Err(NoGrant::NoRoles));
        assert_eq!(grant(&["plain", "gone"]), Err(NoGrant::RoleUnknown("gone".into())));
        assert_eq!(grant(&["plain", "none"]), Err(NoGrant::NoTime));
        let nobody = Person { logins: Vec::new(), ..person(&["plain"]) };
        let roles = roles();
        assert_eq!(Grant::of(&nobody, |_| roles.first()), Err(NoGrant::NoLogins));
    }

    #[test]
    fn a_pin_is_the_observed_address_alone_and_never_a_guess() {
        let observed = Observed::direct("198.51.111.1".parse::<std::net::IpAddr>().unwrap());
        let other = Observed::direct("2001:db8::1".parse::<std::net::IpAddr>().unwrap());
        let pins = |role, observed, other| {
            let pins = grant(&[role]).unwrap().pins(observed, other)?;
            Ok(pins.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(pins("pinned", Some(&observed), None), Ok(vec!["198.51.111.1/32".to_owned()]));
        let both = ["198.51.111.1/32", "2001:db8::1/128"].map(str::to_owned).to_vec();
        assert_eq!(pins("pinned", Some(&observed), Some(&other)), Ok(both));
        assert_eq!(pins("pinned", None, Some(&other)), Err(NoGrant::AddressUnknown));
        assert_eq!(pins("plain", None, None), Ok(Vec::new()));
    }
}
