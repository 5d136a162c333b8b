//! Authorities: those that sshd trusts, those that the agent trusts, and those that sshd trusts in a way that passes
//! AuthorizedPrincipalsCommand by.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cotter_hook::break_glass;
use pinning::CaKey;

use super::{Finding, Node};
use crate::setup::sshd::Effective;
use crate::setup::sshd_config::matches;

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
        |_, effective| by_keys_files(effective, &ours),
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
    let read = read(Path::new(file));
    let keys = match read.and_then(|text| CaKey::parse_all(&text).map_err(|error| error.to_string())) {
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
/// command, also those of one that it trusts by TrustedUserCAKeys as well. Users' own files are not looked into.
fn by_keys_files(effective: &Effective, ours: &BTreeSet<String>) -> Vec<Finding> {
    let files: BTreeSet<PathBuf> =
        effective.value("authorizedkeysfile").split_whitespace().flat_map(files).collect();
    files.iter().flat_map(|file| authorities_in(file, ours)).collect()
}

fn authorities_in(file: &Path, ours: &BTreeSet<String>) -> Vec<Finding> {
    let text = read(file).unwrap_or_default();
    let finding = |line: &[u8]| {
        let key = CaKey::parse_all(&String::from_utf8_lossy(line));
        let key = key.ok().and_then(|keys| keys.first().map(CaKey::fingerprint));
        let key = key.unwrap_or_else(|| "what is no key".to_owned());
        let known = if ours.contains(&key) { ", which the agent trusts too," } else { "" };
        let what = format!(
            "{} makes {key}{known} an authority: sshd takes its certificates without asking Cotter before the session \
             opens",
            file.display()
        );
        Finding::warning(BESIDE, what, "take the cert-authority line out, and use TrustedUserCAKeys")
    };
    break_glass::authorities(text.as_bytes()).map(finding).collect()
}

/// The files that a pattern of AuthorizedKeysFile means, unless they are in users' homes.
fn files(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    if !path.is_absolute() || directory.to_string_lossy().contains('%') {
        return Vec::new();
    }
    if !name.contains('%') {
        return vec![path.to_owned()];
    }
    let name = name.replace("%u", "*").replace("%U", "*");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        path.file_name().and_then(|file| file.to_str()).is_some_and(|file| matches(&name, file))
    };
    entries.map(|entry| entry.path()).filter(fits).collect()
}

/// The text of a regular file of bounded size.
fn read(file: &Path) -> Result<String, String> {
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > MOST {
        return Err(format!("not a file of at most {MOST} bytes"));
    }
    fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned()).map_err(|error| error.to_string())
}
