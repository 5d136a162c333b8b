//! Reads and merges the files, and checks what they say as a whole.

use super::authority::authority;
use super::error::line_and_column;
use super::file::{File, Interfaces as InterfacesKey};
use super::followed::{Own, user_ca_file};
use super::gate::{Around, gates, is_way_in};
use super::knock::knocks;
use super::policy::{PolicyFiles, load_policy};
use super::relay::{RelayConfig, relay_ports};
use super::trusted_relay::trusted_relays;
use super::vouch::vouching;
use super::{Config, ConfigError, Interfaces, MetricsAt, Penalties};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Most networks in `never_drop`.
const MAX_NEVER_DROP: usize = 4096;

/// One file with its text, so that errors can name lines.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) file: File,
}

impl Source {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let file = toml::from_str(&text).map_err(|error| match error.span() {
            Some(span) => ConfigError::at(path, &text, span, error.message()),
            None => ConfigError::of_file(path, error.message()),
        })?;
        Ok(Self { path: path.to_owned(), text, file })
    }

    /// Line and column of a value, from 1.
    pub(super) fn place<T>(&self, of: &Spanned<T>) -> (usize, usize) {
        line_and_column(&self.text, of.span().start)
    }

    pub(super) fn error<T>(&self, at: &Spanned<T>, message: impl std::fmt::Display) -> ConfigError {
        ConfigError::at(&self.path, &self.text, at.span(), message)
    }
}

/// Reads a text file of at most 1 MiB.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let error = |error: std::io::Error| ConfigError::of_file(path, format!("cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(error)?.len();
    if size > MAX_FILE {
        return Err(ConfigError::of_file(path, format!("is {size} bytes long; at most {MAX_FILE} are read")));
    }
    std::fs::read_to_string(path).map_err(error)
}

/// Loads `path`, then the `*.toml` files of the directory of the same name with `.d` (`agent.d`), in name order: a
/// later scalar wins, clusters add up.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    Ok(build(&sources(path)?)?.follow_kept())
}

fn sources(path: &Path) -> Result<Vec<Source>, ConfigError> {
    let mut sources = vec![Source::read(path)?];
    for extra in files_with_extension(&path.with_extension("d"), "toml")? {
        sources.push(Source::read(&extra)?);
    }
    Ok(sources)
}

/// As [`load`], of files that nobody but root can have written: what decides over logins must be root's.
///
/// # Errors
/// As [`load`], and a file that others than root own or may write.
pub fn load_trusted(path: &Path) -> Result<Config, ConfigError> {
    let config = load(path)?;
    config.files.iter().try_for_each(|file| trusted(file))?;
    Ok(config)
}

/// Only what the relay goes by, of files that nobody but root can have written: it may read neither keys nor secrets.
///
/// # Errors
/// As [`load_trusted`], where it concerns the relay.
pub fn load_relay(path: &Path) -> Result<RelayConfig, ConfigError> {
    let sources = sources(path)?;
    sources.iter().try_for_each(|source| trusted(&source.path))?;
    // Whether knocks are heard there is the agent's to say.
    let relay_ports = relay_ports(&sources, &login_ports(&sources)?, None)?;
    let trusts_relays = !trusted_relays(&sources)?.is_empty();
    Ok(RelayConfig { relay_ports, trusts_relays, runtime_dir: runtime_dir(&sources) })
}

fn trusted(file: &Path) -> Result<(), ConfigError> {
    let metadata = std::fs::metadata(file).map_err(|error| ConfigError::of_file(file, error))?;
    if metadata.uid() == 0 && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(ConfigError::of_file(file, "must be root's, and writable by root alone (chmod go-w)"))
}

fn runtime_dir(sources: &[Source]) -> PathBuf {
    path(sources, |file| file.runtime_dir.as_ref(), "/run/cotter")
}

/// Files of a directory by extension, in name order; a missing directory has none.
pub(super) fn files_with_extension(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::of_file(dir, format!("cannot be listed: {error}"))),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path =
            entry.map_err(|error| ConfigError::of_file(dir, format!("cannot be listed: {error}")))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The last of the sources that says something, with that source.
fn last<'a, T>(
    sources: &'a [Source],
    key: impl Fn(&'a File) -> Option<&'a T>,
) -> Option<(&'a Source, &'a T)> {
    sources.iter().rev().find_map(|source| key(&source.file).map(|value| (source, value)))
}

fn value<T: Clone>(sources: &[Source], key: impl for<'a> Fn(&'a File) -> Option<&'a T>) -> Option<T> {
    last(sources, key).map(|(_, value)| value.clone())
}

fn path(sources: &[Source], key: impl for<'a> Fn(&'a File) -> Option<&'a PathBuf>, default: &str) -> PathBuf {
    value(sources, key).unwrap_or_else(|| PathBuf::from(default))
}

fn build(sources: &[Source]) -> Result<Config, ConfigError> {
    let roles_dir = path(sources, |file| file.roles_dir.as_ref(), "/etc/cotter/roles.d");
    let PolicyFiles { policy, unused, mut files, user_ca_files, hash } = load_policy(sources, &roles_dir)?;
    let (authority, ca_file) = authority(sources)?.unzip();
    files.extend(ca_file.flatten());
    let (knocks, read) = knocks(sources)?.unzip();
    files.extend(read.unwrap_or_default());
    let state_dir = path(sources, |file| file.state_dir.as_ref(), "/var/lib/cotter");
    // Of all clusters, those of the files too.
    let user_ca_files = if authority.is_some() { vec![user_ca_file(&state_dir)] } else { user_ca_files };
    let principals_file = last(sources, |file| file.principals_file.as_ref());
    let own = Own {
        policy: policy.clone(),
        hash: hash.clone(),
        principals_file: principals_file.map(|(_, file)| file.as_ref().clone()),
    };
    let (login_ports, never_drop) = (login_ports(sources)?, never_drop(sources)?);
    let relay_ports = relay_ports(sources, &login_ports, knocks.as_ref())?;
    let around = Around {
        policy: &policy,
        follows: authority.is_some(),
        login_ports: &login_ports,
        relay_ports: &relay_ports,
        knocks: knocks.as_ref(),
        has_way_in: knocks.is_some() || is_way_in(&never_drop),
    };
    let gates = gates(sources, &around)?;
    let trusted_relays = trusted_relays(sources)?;
    let other_logins_said = value(sources, |file| file.other_logins.as_ref());
    Ok(Config {
        interfaces: interfaces(sources)?,
        attach: value(sources, |file| file.attach.as_ref()).unwrap_or_default(),
        tc_hook: value(sources, |file| file.tc_hook.as_ref()).unwrap_or_default(),
        mode: value(sources, |file| file.mode.as_ref()).unwrap_or(pinning::Mode::Audit),
        login_ports,
        login_grace_time: login_grace_time(sources)?,
        never_drop,
        relay_ports,
        trusted_relays,
        vouching: vouching(sources)?,
        gates,
        other_logins: other_logins_said.unwrap_or_default(),
        other_logins_said,
        on_cut: value(sources, |file| file.on_cut.as_ref()).unwrap_or_default(),
        event_log: value(sources, |file| file.event_log.as_ref()),
        runtime_dir: runtime_dir(sources),
        state_dir,
        bpf_pin_dir: path(sources, |file| file.bpf_pin_dir.as_ref(), "/sys/fs/bpf/cotter"),
        read_group: last(sources, |file| file.read_group.as_ref())
            .map_or_else(|| "adm".to_owned(), |(_, group)| group.as_ref().clone()),
        metrics: metrics(sources)?,
        max_sessions: most_sessions(sources, "max_sessions", |file| file.max_sessions.as_ref(), 16_384)?,
        max_sessions_per_person: most_sessions(
            sources,
            "max_sessions_per_person",
            |file| file.max_sessions_per_person.as_ref(),
            256,
        )?,
        sessions_cgroup: sessions_cgroup(sources)?,
        kernel_log: value(sources, |file| file.kernel_log.as_ref()).unwrap_or_default(),
        sshd_paths: value(sources, |file| file.sshd_paths.as_ref()).unwrap_or_else(default_sshd_paths),
        penalties: penalties(sources)?,
        knocks,
        policy,
        authority,
        followed: None,
        refused: None,
        left_out: Vec::new(),
        follow_error: None,
        own,
        unused,
        hash,
        loaded_at: crate::clock::unix(),
        user_ca_files,
        files,
    })
}

fn default_sshd_paths() -> Vec<PathBuf> {
    cotter_hook::monitor::EXECUTABLES.iter().map(PathBuf::from).collect()
}

fn interfaces(sources: &[Source]) -> Result<Interfaces, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.interfaces.as_ref()) else {
        return Ok(Interfaces::Auto);
    };
    match key.as_ref() {
        InterfacesKey::Word(word) if word == "auto" => Ok(Interfaces::Auto),
        InterfacesKey::Word(word) => {
            Err(source.error(key, format!("`interfaces` is \"auto\" or a list of names, not \"{word}\"")))
        }
        InterfacesKey::Names(names) if names.is_empty() => {
            Err(source.error(key, "`interfaces` is an empty list: nothing would be protected"))
        }
        InterfacesKey::Names(names) => Ok(Interfaces::Named(names.clone())),
    }
}

fn login_ports(sources: &[Source]) -> Result<Vec<u16>, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.login_ports.as_ref()) else { return Ok(vec![22]) };
    let mut ports = key.as_ref().clone();
    ports.sort_unstable();
    ports.dedup();
    match ports.first() {
        None => Err(source.error(key, "`login_ports` is empty: no login would be protected")),
        Some(0) => Err(source.error(key, "`login_ports` has port 0, which nothing can listen on")),
        Some(_) => Ok(ports),
    }
}

fn login_grace_time(sources: &[Source]) -> Result<Duration, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.login_grace_time.as_ref()) else {
        return Ok(Duration::from_secs(120));
    };
    match *key.as_ref() {
        seconds @ 1..=3600 => Ok(Duration::from_secs(seconds)),
        seconds => Err(source.error(key, format!("`login_grace_time` is 1 to 3600 seconds, not {seconds}"))),
    }
}

fn metrics(sources: &[Source]) -> Result<MetricsAt, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.metrics.as_ref()) else {
        return Ok(MetricsAt::default());
    };
    key.get_ref().parse().map_err(|message: String| source.error(key, message))
}

/// How many sessions there may be at once.
fn most_sessions(
    sources: &[Source],
    name: &str,
    key: impl for<'a> Fn(&'a File) -> Option<&'a Spanned<u32>>,
    default: u32,
) -> Result<u32, ConfigError> {
    let Some((source, key)) = last(sources, key) else { return Ok(default) };
    match *key.as_ref() {
        count @ 1..=1_048_576 => Ok(count),
        count => Err(source.error(key, format!("`{name}` is 1 to 1048576, not {count}"))),
    }
}

/// A path from the root of the cgroup2 hierarchy, such as `user.slice`.
fn sessions_cgroup(sources: &[Source]) -> Result<String, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.sessions_cgroup.as_ref()) else {
        return Ok("user.slice".to_owned());
    };
    let text = key.get_ref().trim_matches('/');
    if text.is_empty() || text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let why =
            format!("`sessions_cgroup` is a cgroup below the root, such as \"user.slice\", not {text:?}");
        return Err(source.error(key, why));
    }
    Ok(text.to_owned())
}

/// Entries of all files add up; a bare address is its /32 or /128.
fn never_drop(sources: &[Source]) -> Result<Vec<ipnet::IpNet>, ConfigError> {
    let mut networks = Vec::new();
    for source in sources {
        for entry in source.file.never_drop.iter().flatten() {
            let text = entry.as_ref();
            let host = text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from);
            let network = host.or_else(|| text.parse::<ipnet::IpNet>().ok()).ok_or_else(|| {
                source.error(
                    entry,
                    format!("\"{text}\" is neither an address nor a network such as 203.0.113.0/24"),
                )
            })?;
            networks.push(network.trunc());
            if networks.len() > MAX_NEVER_DROP {
                return Err(
                    source.error(entry, format!("`never_drop` has more than {MAX_NEVER_DROP} entries"))
                );
            }
        }
    }
    Ok(networks)
}

fn penalties(sources: &[Source]) -> Result<Penalties, ConfigError> {
    let Some((source, key)) = last(sources, |file| file.penalties.as_ref()) else {
        return Ok(Penalties::default());
    };
    let (penalties, default) = (key.as_ref(), Penalties::default());
    let seconds = |value: Option<u64>, default: Duration| match value {
        None => Ok(default),
        Some(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => {
            Err(source.error(key, format!("[penalties] counts in 1 to 3600 seconds, not {seconds}")))
        }
    };
    Ok(Penalties {
        denials: penalties.denials.unwrap_or(default.denials),
        within: seconds(penalties.within_seconds, default.within)?,
        lasting: seconds(penalties.seconds, default.lasting)?,
    })
}
