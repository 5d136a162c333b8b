//! The roles that a certificate brings: read from where its cluster says, then mapped.

use serde::Deserialize;

use crate::{Certificate, Cluster, Denial, LoginReason, RolesFrom};

/// The most roles a certificate may name.
const MAX_ROLES: usize = 256;

/// `teleport-roles`: other members, such as `version`, are left aside.
#[derive(Deserialize)]
struct TeleportRoles {
    #[serde(default)]
    roles: Option<Vec<String>>,
}

/// The local roles of a certificate, each once; none if the extension is missing.
///
/// # Errors
/// `malformed_certificate` if the extension is there and unreadable, or names more than 256 roles. It is reported here
/// and not as the certificate's form, because only the trusted cluster says which extension counts.
pub(crate) fn roles_of(cluster: &Cluster, certificate: &Certificate) -> Result<Vec<String>, Denial> {
    let named = match cluster.roles_from {
        RolesFrom::Default => cluster.default_roles.clone(),
        RolesFrom::Cotter => read::<Vec<String>>(certificate, "roles@cotter")?.unwrap_or_default(),
        RolesFrom::Teleport => {
            let read = read::<TeleportRoles>(certificate, "teleport-roles")?;
            read.and_then(|extension| extension.roles).unwrap_or_default()
        }
    };
    if named.len() > MAX_ROLES {
        let detail = format!("the certificate names more than {MAX_ROLES} roles");
        return Err(Denial::new(LoginReason::MalformedCertificate, detail));
    }
    Ok(local(cluster, &named))
}

/// The local names of roles as a cluster names them: mapped if it has a map, each once, none empty.
pub(crate) fn local(cluster: &Cluster, named: &[String]) -> Vec<String> {
    if let Some(map) = &cluster.role_map {
        return map.apply(named);
    }
    let mut roles: Vec<String> = Vec::new();
    for role in named {
        if !role.is_empty() && !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

fn read<T: for<'de> Deserialize<'de>>(
    certificate: &Certificate,
    extension: &str,
) -> Result<Option<T>, Denial> {
    let Some(json) = certificate.extension(extension)? else {
        return Ok(None);
    };
    let unreadable = |error| {
        Denial::new(
            LoginReason::MalformedCertificate,
            format!("extension {extension:?} is not what it should be: {error}"),
        )
    };
    serde_json::from_str(json).map(Some).map_err(unreadable)
}
