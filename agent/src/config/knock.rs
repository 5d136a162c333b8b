//! `[knock]`: where the node listens for knocks, and what makes one a knock at this node.

use super::ConfigError;
use super::load::{Source, read_text};
use cotter_knock::{Fingerprint, FleetSecret};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use zeroize::Zeroizing;

/// Where OpenSSH keeps host keys, `ssh_host_*_key.pub`.
const HOST_KEYS: &str = "/etc/ssh";
/// Most host keys; each knock is compared with all of them.
const MAX_HOST_KEYS: usize = 16;

/// How the node is knocked at.
#[derive(Debug, Clone)]
pub struct Knocks {
    /// The UDP port; read at the start only.
    pub port: u16,
    /// Whether it listens at the same TCP port as well; read at the start only.
    pub tcp: bool,
    /// What the node's fleet and its authority share. With it, a knock has a right MAC or is none.
    pub secret: Option<Arc<FleetSecret>>,
    /// The node's SSH host keys: a knock is for one of these. None at all where sshd has not made its own yet.
    pub host_keys: Vec<Fingerprint>,
}

/// The last `[knock]` of the files, and the files that it had read.
pub(super) fn knocks(sources: &[Source]) -> Result<Option<(Knocks, Vec<PathBuf>)>, ConfigError> {
    let found = sources.iter().rev().find_map(|source| source.file.knock.as_ref().map(|it| (source, it)));
    let Some((source, spanned)) = found else { return Ok(None) };
    let table = spanned.as_ref();
    if *table.port.get_ref() == 0 {
        return Err(source.error(&table.port, "`port` is 0, at which nobody can knock"));
    }
    let secret = table.secret.as_ref().map(|file| secret(source, file)).transpose()?;
    let (host_keys, mut files) = match &table.host_keys {
        Some(named) => named_keys(source, named)?,
        None => usual_keys(),
    };
    files.extend(table.secret.as_ref().map(|file| file.get_ref().clone()));
    let knocks = Knocks {
        port: *table.port.get_ref(),
        tcp: table.tcp.unwrap_or(false),
        secret: secret.map(Arc::new),
        host_keys,
    };
    Ok(Some((knocks, files)))
}

/// The fleet's secret, which nobody but its owner may read.
fn secret(source: &Source, file: &Spanned<PathBuf>) -> Result<FleetSecret, ConfigError> {
    let path = file.get_ref();
    let wrong = |why: String| source.error(file, format!("secret {}: {why}", path.display()));
    let text = read_text(path).map_err(|error| source.error(file, format!("secret {error}")))?;
    let text = Zeroizing::new(text);
    let permissions = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions();
    if permissions.mode() & 0o077 != 0 {
        return Err(wrong("must be for root's eyes alone (chmod 600)".to_owned()));
    }
    text.parse().map_err(|error: cotter_knock::KeyError| wrong(error.to_string()))
}

fn named_keys(
    source: &Source,
    named: &Spanned<Vec<Spanned<PathBuf>>>,
) -> Result<(Vec<Fingerprint>, Vec<PathBuf>), ConfigError> {
    let count = named.get_ref().len();
    if !(1..=MAX_HOST_KEYS).contains(&count) {
        let why = format!("`host_keys` names 1 to {MAX_HOST_KEYS} files, not {count}");
        return Err(source.error(named, why));
    }
    let mut keys = Vec::new();
    for file in named.get_ref() {
        let text = read_text(file.get_ref()).map_err(|error| source.error(file, format!("host key {error}")));
        let key = Fingerprint::of_line(&text?);
        keys.push(key.map_err(|error| {
            source.error(file, format!("host key {}: {error}", file.get_ref().display()))
        })?);
    }
    Ok((keys, named.get_ref().iter().map(|file| file.get_ref().clone()).collect()))
}

/// Those that sshd usually has. The node's first start may come before they are made, and one that cannot be read must not
/// keep the agent from starting: `doctor` says so.
fn usual_keys() -> (Vec<Fingerprint>, Vec<PathBuf>) {
    let files = usual_files(Path::new(HOST_KEYS)).unwrap_or_default();
    let key = |file: PathBuf| Some((Fingerprint::of_line(&read_text(&file).ok()?).ok()?, file));
    files.into_iter().filter_map(key).take(MAX_HOST_KEYS).unzip()
}

/// Whether sshd has made host keys where they usually lie.
pub(crate) fn has_host_keys() -> bool {
    !usual_keys().0.is_empty()
}

fn usual_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("ssh_host_") && name.ends_with("_key.pub") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
