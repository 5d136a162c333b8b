//! The certificate that a login ends with.

use std::time::Duration;

use pinning::{Cidr, Observed};
use ssh_key::PublicKey;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::rand_core::OsRng;

use crate::grant::Grant;

/// Certificates count from so long before they are made, for nodes whose clocks are late.
const EARLY: Duration = Duration::from_secs(60);
/// What sshd lets holders do, as ssh-keygen has it by default.
const PERMITS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// What a certificate says.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The holder's key.
    pub key: &'a PublicKey,
    /// The key id.
    pub user: &'a str,
    /// What the roles give.
    pub grant: &'a Grant,
    /// The networks it is bound to; none: it is not.
    pub pins: &'a [Cidr],
    /// Where the holder logged in from.
    pub observed: Option<&'a Observed>,
    /// Never used before.
    pub serial: u64,
    /// Unix seconds.
    pub now: u64,
}

impl Draft<'_> {
    /// The end of its validity, Unix seconds.
    pub fn ends_at(&self) -> u64 {
        self.now.saturating_add(self.grant.lifetime.as_secs())
    }

    /// The same, but for the signature.
    ///
    /// # Errors
    /// What `ssh_key` says of what does not fit into a certificate.
    pub fn builder(&self) -> Result<Builder, ssh_key::Error> {
        let begins_at = self.now.saturating_sub(EARLY.as_secs());
        let mut builder = Builder::new_with_random_nonce(&mut OsRng, self.key, begins_at, self.ends_at())?;
        builder.cert_type(CertType::User)?.serial(self.serial)?.key_id(self.user)?.comment(self.user)?;
        for login in &self.grant.logins {
            builder.valid_principal(login)?;
        }
        if !self.pins.is_empty() {
            let pins: Vec<String> = self.pins.iter().map(ToString::to_string).collect();
            builder.critical_option("source-address", pins.join(","))?;
        }
        for permit in PERMITS {
            builder.extension(permit, "")?;
        }
        if let Some(observed) = self.observed {
            builder.extension("login-ip", observed.address.to_string())?;
        }
        builder
            .extension("roles@cotter", serde_json::Value::from(self.grant.roles.as_slice()).to_string())?;
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use pinning::{CaKey, Cluster, Login, LoginReason, OnExpiry, Policy, Role, RolesFrom};
    use ssh_key::{Algorithm, PrivateKey};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    /// What a node says of a login as `login` from `from` at `now` with a certificate pinned to 198.51.111.1.
    fn judged(login: &str, from: &str, now: u64) -> LoginReason {
        let ca = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let holder = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let grant = Grant {
            roles: vec!["pinned".into()],
            logins: vec!["alice".into(), "deploy".into()],
            lifetime: Duration::from_secs(3600),
            pinned: true,
            second_factor: false,
        };
        let observed = Observed::direct("198.51.111.1".parse::<std::net::IpAddr>().unwrap());
        let pins = grant.pins(Some(&observed), None).unwrap();
        let draft = Draft {
            key: holder.public_key(),
            user: "alice",
            grant: &grant,
            pins: &pins,
            observed: Some(&observed),
            serial: 7,
            now: NOW,
        };
        let certificate = draft.builder().unwrap().sign(&ca).unwrap().to_openssh().unwrap();
        let cluster = Cluster {
            name: "example.com".into(),
            user_ca: CaKey::parse_all(&ca.public_key().to_openssh().unwrap()).unwrap(),
            roles_from: RolesFrom::Cotter,
            default_roles: Vec::new(),
            role_map: None,
            on_expiry: OnExpiry::Cut,
            principals_file: None,
        };
        let role =
            "kind: role\nversion: v7\nmetadata: {name: pinned}\nspec: {options: {pin_source_ip: true}}\n";
        let policy = Policy::new(vec![cluster], Role::parse_all(role).unwrap()).unwrap();
        let login = Login {
            certificate: &certificate,
            login,
            observed: Some(Observed::direct(from.parse::<std::net::IpAddr>().unwrap())),
            now,
            locks: &[],
            principals_file: &|_, _| Err("there is none".into()),
        };
        policy.judge(&login).verdict.reason()
    }

    #[test]
    fn a_node_lets_its_holder_in_from_there_and_then_and_by_the_given_logins_alone() {
        assert_eq!(judged("alice", "198.51.111.1", NOW), LoginReason::Allowed);
        assert_eq!(judged("deploy", "198.51.111.1", NOW - 60), LoginReason::Allowed);
        assert_eq!(judged("root", "198.51.111.1", NOW), LoginReason::PrincipalNotAllowed);
        assert_eq!(judged("alice", "198.51.222.2", NOW), LoginReason::PinMismatch);
        assert_eq!(judged("alice", "198.51.111.1", NOW - 61), LoginReason::CertificateNotYetValid);
        assert_eq!(judged("alice", "198.51.111.1", NOW + 3600), LoginReason::CertificateExpired);
    }
}
