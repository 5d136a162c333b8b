//! Each rule of the check, and which of two broken rules is reported.

mod damage;
mod judgement;
mod knocks;
mod locks;
mod order;
mod pins;
mod principals;
mod roles;

use std::sync::LazyLock;

use super::*;
use crate::test_certificate::{Authority, Draft};
use crate::{CaKey, LockTarget, RoleMap, RoleMapEntry, RolesFrom};

use LoginReason::*;

const HOME: &str = "198.51.111.1";
const AWAY: &str = "198.51.222.2";

fn no_file(template: &str, login: &str) -> Result<String, String> {
    panic!("nobody asked for {template} of {login}")
}

fn role(name: &str, spec: &str) -> Role {
    let text = format!("kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    Role::parse_all(&text).unwrap().remove(0)
}

fn roles() -> Vec<Role> {
    vec![
        role("plain", "{}"),
        role("pinned", "{options: {pin_source_ip: true}}"),
        role("pool", "{options: {pin_source_ip: true, pin_width: {ipv4: 24, ipv6: 64}}}"),
        role("wide-unpinned", "{options: {pin_width: {ipv4: 0, ipv6: 0}}}"),
        role("ends", "{options: {disconnect_expired_cert: true}}"),
        role("cut", "{options: {on_new_address: cut, mode: audit}}"),
        role("follow", "{options: {on_new_address: follow, mode: enforce}}"),
        role("keep", "{options: {on_new_address: keep, mode: off}}"),
        role("ops-only", "{allow: {logins: [ops]}}"),
        role("no-deploy", "{deny: {logins: [deploy]}}"),
    ]
}

fn cluster(name: &str, seed: u8) -> Cluster {
    Cluster {
        name: name.to_owned(),
        user_ca: CaKey::parse_all(&Authority::seeded(seed).public_line()).unwrap(),
        roles_from: RolesFrom::Cotter,
        default_roles: Vec::new(),
        role_map: None,
        on_expiry: OnExpiry::Keep,
        principals_file: None,
    }
}

fn map(remote: &str, local: &str) -> Option<RoleMap> {
    Some(RoleMap::new(vec![RoleMapEntry { remote: remote.into(), local: vec![local.into()] }]).unwrap())
}

/// Seed 1: example.com, roles from `roles@cotter`. Seed 2: a trusted cluster. Seed 3: default roles. Seed 4: Teleport.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let root = Cluster { role_map: map("dev-*", "$1"), ..cluster("root.example.com", 2) };
    let default = Cluster {
        roles_from: RolesFrom::Default,
        default_roles: vec!["pinned".into()],
        ..cluster("default.example.com", 3)
    };
    let teleport = Cluster { roles_from: RolesFrom::Teleport, ..cluster("teleport.example.com", 4) };
    Policy::new(vec![cluster("example.com", 1), root, default, teleport], roles()).unwrap()
});

fn draft(roles: &str) -> Draft {
    Authority::seeded(1).certificate().extension("roles@cotter", roles)
}

/// Judges alice's login at second 1500 with no locks.
fn judge_at(draft: &Draft, from: Option<&str>) -> Judgement {
    judge(&draft.text(), from, &[])
}

fn judge(certificate: &str, from: Option<&str>, locks: &[Lock]) -> Judgement {
    let observed = from.map(|from| Observed::direct(from.parse::<crate::Address>().unwrap()));
    POLICY.judge(&Login {
        certificate,
        login: "alice",
        observed,
        now: 1500,
        locks,
        principals_file: &no_file,
    })
}

fn reason(draft: &Draft, from: impl Into<Option<&'static str>>) -> LoginReason {
    judge_at(draft, from.into()).verdict.reason()
}

fn lock(target: LockTarget, until: Option<u64>) -> Lock {
    Lock { id: "L1".into(), target, until, reason: String::new(), created: 0 }
}
