//! Role files: YAML of the well-known form (`kind: role`, `version: v3` to `v8`), read to roles.

use std::time::Duration;

use crate::mapping::{Mapping, boolean, one_of, text};
use crate::role_field;
use crate::yaml::{self, Node, Place, Value};
use crate::{
    LoginPattern, Mode, OnNewAddress, PinEndpoints, PinWidth, Role, RoleOptions, Unused, parse_duration,
};

/// The largest role file that is read, in bytes.
pub const MAX_ROLE_FILE: usize = 1024 * 1024;
/// The longest name of a role, in bytes.
const MAX_NAME: usize = 256;

/// What is wrong with a role file, and where. Displays as `line:column: what`, ready to stand behind a file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {what}")]
pub struct RoleError {
    /// Line, from 1; 0 if the error has no place.
    pub line: u64,
    /// Column, from 1; 0 if the error has no place.
    pub column: u64,
    /// The error, naming the field.
    pub what: String,
}

impl Role {
    /// Reads all roles of a file, which may hold several YAML documents, or none.
    ///
    /// Fields of the well-known form that have no effect here are accepted and listed in [`Role::without_effect`]; a
    /// field that nobody knows is an error.
    ///
    /// # Errors
    /// The first error, with its place.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, RoleError> {
        if text.len() > MAX_ROLE_FILE {
            return Err(Place { line: 0, column: 0 }.error(format!("longer than {MAX_ROLE_FILE} bytes")));
        }
        yaml::documents(text)?.iter().map(read_role).collect()
    }
}

fn read_role(document: &Node) -> Result<Role, RoleError> {
    let mut unused = Vec::new();
    let top = Mapping::open(document, "", &role_field::ROLE, &mut unused)?;
    let kind = top.required("kind")?;
    if text(kind, "kind")? != "role" {
        return Err(kind.at.error("kind is not \"role\""));
    }
    let version = top.required("version")?;
    if !matches!(text(version, "version")?, "v3" | "v4" | "v5" | "v6" | "v7" | "v8") {
        return Err(version.at.error("version is not one of v3 to v8"));
    }
    let metadata = Mapping::open(top.required("metadata")?, "metadata", &role_field::METADATA, &mut unused)?;
    let name = read_name(metadata.required("name")?)?;
    let role = Role {
        name,
        line: document.at.line,
        options: RoleOptions::default(),
        allow_logins: None,
        deny_logins: Vec::new(),
        without_effect: Vec::new(),
    };
    let role = match top.get("spec") {
        Some(spec) => read_spec(role, spec, &mut unused)?,
        None => role,
    };
    unused.sort_by_key(|field| (field.line, field.column));
    Ok(Role { without_effect: unused, ..role })
}

fn read_spec(mut role: Role, node: &Node, unused: &mut Vec<Unused>) -> Result<Role, RoleError> {
    let spec = Mapping::open(node, "spec", &role_field::SPEC, unused)?;
    if let Some(node) = spec.get("options") {
        role.options = read_options(&Mapping::open(node, "spec.options", &role_field::OPTIONS, unused)?)?;
    }
    if let Some(node) = spec.get("allow") {
        let allow = Mapping::open(node, "spec.allow", &role_field::CONDITIONS, unused)?;
        role.allow_logins = allow.read("logins", read_logins)?;
    }
    if let Some(node) = spec.get("deny") {
        let deny = Mapping::open(node, "spec.deny", &role_field::CONDITIONS, unused)?;
        role.deny_logins = deny.read("logins", read_logins)?.unwrap_or_default();
    }
    Ok(role)
}

fn read_options(options: &Mapping<'_>) -> Result<RoleOptions, RoleError> {
    Ok(RoleOptions {
        pin_source_ip: options.read("pin_source_ip", boolean)?.unwrap_or_default(),
        pin_width: options.read("pin_width", read_pin_width)?.unwrap_or_default(),
        max_session_ttl: options.read("max_session_ttl", read_ttl)?.flatten(),
        disconnect_expired_cert: options.read("disconnect_expired_cert", boolean)?.unwrap_or_default(),
        on_new_address: options.read("on_new_address", |node, path| {
            use OnNewAddress::{Cut, Follow, Keep};
            one_of(node, path, &[("keep", Keep), ("cut", Cut), ("follow", Follow)])
        })?,
        pin_endpoints: options.read("pin_endpoints", |node, path| {
            use PinEndpoints::{All, Off, Udp};
            one_of(node, path, &[("udp", Udp), ("all", All), ("off", Off)])
        })?,
        require_second_factor: options.read("require_second_factor", boolean)?.unwrap_or_default(),
        mode: options.read("mode", |node, path| {
            one_of(node, path, &[("enforce", Mode::Enforce), ("audit", Mode::Audit), ("off", Mode::Off)])
        })?,
    })
}

/// A duration; zero and `never` set no bound, as existing role files mean it.
fn read_ttl(node: &Node, path: &str) -> Result<Option<Duration>, RoleError> {
    let ttl = match text(node, path)? {
        "never" => Some(Duration::ZERO),
        other => parse_duration(other),
    };
    let ttl =
        ttl.ok_or_else(|| node.at.error(format!("{path} is not a duration such as \"8h\" or \"30m\"")))?;
    Ok((!ttl.is_zero()).then_some(ttl))
}

fn read_pin_width(node: &Node, path: &str) -> Result<PinWidth, RoleError> {
    let width = Mapping::open(node, path, &role_field::PIN_WIDTH, &mut Vec::new())?;
    let bits = |most: u8| {
        move |node: &Node, path: &str| {
            let within = node.value.as_u8().filter(|bits| *bits <= most);
            within.ok_or_else(|| node.at.error(format!("{path} is not a prefix length from 0 to {most}")))
        }
    };
    let one = PinWidth::default();
    Ok(PinWidth {
        ipv4: width.read("ipv4", bits(one.ipv4))?.unwrap_or(one.ipv4),
        ipv6: width.read("ipv6", bits(one.ipv6))?.unwrap_or(one.ipv6),
    })
}

fn read_logins(node: &Node, path: &str) -> Result<Vec<LoginPattern>, RoleError> {
    let Value::List(entries) = &node.value else {
        return Err(node.at.error(format!("{path} must be a list, not {}", node.value.kind())));
    };
    let read = |entry: &Node| {
        let wrong = |why: &str| entry.at.error(format!("{path}: {why}"));
        text(entry, path)?.parse().map_err(wrong)
    };
    entries.iter().map(read).collect()
}

fn read_name(node: &Node) -> Result<String, RoleError> {
    let name = text(node, "metadata.name")?;
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(node.at.error(format!("metadata.name must be a line of 1 to {MAX_NAME} bytes")));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
