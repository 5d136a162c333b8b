//! Authorities: those that sshd trusts, those that the agent trusts, and those that sshd trusts in a way that passes
//! AuthorizedPrincipalsCommand by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cotter_hook::break_glass;
use pinning::CaKey;

use super::roots_file::{self, PlaceError};
use super::{Finding, Node, PATIENCE, keys_files};
use crate::setup::sshd::Effective;

/// Whom sshd and the agent trust.
const TRUSTED: &str = "trusted-ca";
/// Whom sshd trusts beside that.
const BESIDE: &str = "cert-authority";
/// The most bytes of a file with keys that is looked into.
const MOST: u64 = 1 << 20;

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let (Ok(sshd), Ok(config)) = (&node.sshd, &node.config) else { return Vec::new() };
    let ours: BTreeSet<String> = config
        .policy
        .clusters()
        .iter()
        .flat_map(|cluster| &cluster.user_ca)
        .map(CaKey::fingerprint)
        .collect();
    let mut findings = sshd.look(
        &["trustedusercakeys"],
        Finding::ok(TRUSTED, "sshd and the agent trust the same authorities"),
        |name, effective| trusted(name, effective, &ours),
    );
    findings.extend(sshd.look(
        &["authorizedkeysfile"],
        Finding::ok(BESIDE, "no file of keys that is the administrator's makes an authority of one"),
        |name, effective| by_keys_files(name, effective, &ours),
    ));
    findings
}

/// sshd's TrustedUserCAKeys against the clusters' `user_ca`.
fn trusted(name: &str, effective: &Effective, ours: &BTreeSet<String>) -> Vec<Finding> {
    let file = effective.value("trustedusercakeys");
    if file == "none" {
        let what = format!("{name}: sshd trusts no authority (TrustedUserCAKeys): no certificate gets in");
        return vec![Finding::warning(TRUSTED, what, "cotter-agent setup sshd")];
    }
    let text = match read(Path::new(file)) {
        Ok(text) => text,
        Err(error) if error.is_missing() => {
            let what = format!("{name}: TrustedUserCAKeys {file}: {error}: no certificate gets in");
            return vec![Finding::warning(TRUSTED, what, "mend the file")];
        }
        Err(error) => return vec![unclear(&format!("{name}: TrustedUserCAKeys {file}: {error}"))],
    };
    let keys = match CaKey::parse_all(&text) {
        Ok(keys) => keys,
        Err(error) => {
            let what = format!("{name}: TrustedUserCAKeys {file}: {error}");
            return vec![Finding::warning(TRUSTED, what, "mend the file")];
        }
    };
    let theirs: BTreeSet<String> = keys.iter().map(CaKey::fingerprint).collect();
    let only_theirs = theirs.difference(ours).map(|key| {
        let what = format!(
            "{name}: sshd trusts the authority {key} ({file}), and the agent does not: it denies its certificates"
        );
        Finding::warning(TRUSTED, what, "name it as the user_ca of a [[cluster]], or take it out of that file")
    });
    let only_ours = ours.difference(&theirs).map(|key| {
        let what = format!(
            "{name}: the agent trusts the authority {key}, and sshd does not: its certificates do not get in"
        );
        Finding::warning(TRUSTED, what, format!("add it to {file}"))
    });
    only_theirs.chain(only_ours).collect()
}

/// `cert-authority` lines where sshd looks for keys: it takes such an authority's certificates without asking the
/// command, also those of one that it trusts by TrustedUserCAKeys as well. What users can have put where it is, is not
/// looked into.
fn by_keys_files(name: &str, effective: &Effective, ours: &BTreeSet<String>) -> Vec<Finding> {
    let (begin, mut files, mut findings) = (Instant::now(), BTreeSet::new(), Vec::new());
    let mut users: Vec<&PathBuf> = Vec::new();
    for pattern in effective.value("authorizedkeysfile").split_whitespace() {
        match keys_files::of(pattern) {
            Ok(meant) => files.extend(meant),
            Err(why) => findings.push(unclear(&format!("{name}: AuthorizedKeysFile {pattern}: {why}"))),
        }
    }
    for (looked_into, file) in files.iter().enumerate() {
        if begin.elapsed() > PATIENCE {
            let left = files.len() - looked_into;
            findings.push(unclear(&format!(
                "{name}: {left} of {} files of keys are not looked into",
                files.len()
            )));
            break;
        }
        match read(file) {
            Ok(text) => findings.extend(authorities_in(file, &text, ours)),
            Err(error) if error.is_missing() => {}
            Err(PlaceError::Users) => users.push(file),
            Err(error) => findings.push(unclear(&format!("{}: {error}", file.display()))),
        }
    }
    if let Some(first) = users.first() {
        let others = if users.len() > 1 { format!(" and {} more", users.len() - 1) } else { String::new() };
        let (first, why) = (first.display(), PlaceError::Users);
        findings.push(unclear(&format!("{name}: {first}{others}: {why}")));
    }
    findings
}

/// One finding for a file, however many it names.
fn authorities_in(file: &Path, text: &str, ours: &BTreeSet<String>) -> Option<Finding> {
    let mut named = break_glass::authorities(text.as_bytes());
    let line = named.next()?;
    let key = CaKey::parse_all(&String::from_utf8_lossy(line));
    let key = key.ok().and_then(|keys| keys.first().map(CaKey::fingerprint));
    let key = key.unwrap_or_else(|| "what is no key".to_owned());
    let known = if ours.contains(&key) { ", which the agent trusts too," } else { "" };
    let others = match named.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let what = format!(
        "{} makes {key}{known} an authority{others}: sshd takes its certificates without asking Cotter before the \
         session opens",
        file.display()
    );
    Some(Finding::warning(BESIDE, what, "take the cert-authority line out, and use TrustedUserCAKeys"))
}

/// Where something could not be looked at, there may be anything.
fn unclear(what: &str) -> Finding {
    let what = format!("{what}: whether sshd trusts an authority by it cannot be told");
    Finding::warning(
        "authorities-unclear",
        what,
        "look yourself, or have sshd go by plain files of at most 1 MiB in directories of root's",
    )
}

/// The text of a file of keys.
fn read(file: &Path) -> Result<String, PlaceError> {
    let content = roots_file::read(file, MOST)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
