//! The authority's configuration file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cotter_api::{RoleFile, Rules, TrustedCluster};
use ipnet::IpNet;
use pinning::{OnExpiry, Role, RoleMapEntry, RolesFrom};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::ca::KeySource;
use crate::observe::Hops;
use crate::store::Location;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Whether connections begin with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// All of them, else they are closed; and only trusted hops may send one.
    On,
    /// None of them.
    #[default]
    Off,
}

/// What is in the file; keys as in the manual.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "everywhere")]
    listen: Vec<SocketAddr>,
    #[serde(default = "state_dir")]
    state_dir: PathBuf,
    #[serde(default = "roles_dir")]
    roles_dir: PathBuf,
    storage: Option<String>,
    ca_keys: Option<Vec<KeySource>>,
    tls: Option<TlsFiles>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    proxy_protocol: ProxyProtocol,
    #[serde(default)]
    trust_x_forwarded_for: bool,
    event_log: Option<PathBuf>,
    #[serde(default)]
    trusted_cluster: Vec<TrustedClusterTable>,
    policy_readers: Option<Vec<String>>,
    knock_secret: Option<PathBuf>,
}

/// `[[trusted_cluster]]`: keys as in agent.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedClusterTable {
    name: String,
    user_ca: PathBuf,
    roles_from: RolesFrom,
    #[serde(default)]
    default_roles: Vec<String>,
    role_map: Vec<RoleMapEntry>,
    on_expiry: Option<OnExpiry>,
}

/// `[tls]`: a certificate of somebody else's making.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where keys and, by default, everything else lie.
    pub state_dir: PathBuf,
    /// Where roles lie.
    pub roles_dir: PathBuf,
    /// Where people are kept.
    pub storage: Location,
    /// The keys that nodes are to trust; the first one signs.
    pub ca_keys: Vec<KeySource>,
    /// The HTTPS certificate, if it is not of our own making.
    pub tls: Option<TlsFiles>,
    /// Which hops are believed.
    pub hops: Hops,
    /// Whether they send headers before all else.
    pub proxy_protocol: ProxyProtocol,
    /// Where decisions are written, beside the journal.
    pub event_log: Option<PathBuf>,
    /// Who may read what nodes follow: callers observed in these networks; `None`: everybody.
    pub policy_readers: Option<Vec<IpNet>>,
    /// The file of the secret by which nodes know the knocks of people here.
    pub knock_secret: Option<PathBuf>,
    trusted_clusters: Vec<TrustedClusterTable>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{place}: {what}", path = path.display())]
pub struct ConfigError {
    path: PathBuf,
    /// `:line:column`, or nothing.
    place: String,
    what: String,
}

impl ConfigError {
    fn of(path: &Path, what: impl std::fmt::Display) -> Self {
        Self { path: path.into(), place: String::new(), what: what.to_string() }
    }
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let place = error.span().map(|span| place(&text, span.start)).unwrap_or_default();
            ConfigError { path: path.into(), place, what: error.message().to_owned() }
        })?;
        let wrong = |what: String| ConfigError::of(path, what);
        if file.name.is_empty() || file.name.contains('/') {
            return Err(wrong("name is empty or holds a slash".into()));
        }
        let hops = Hops {
            trusted: networks("trusted_proxies", &file.trusted_proxies).map_err(wrong)?,
            forwarded_for: file.trust_x_forwarded_for,
        };
        let told = hops.forwarded_for || file.proxy_protocol == ProxyProtocol::On;
        if told == hops.trusted.is_empty() {
            let what =
                "trusted_proxies goes with proxy_protocol = \"on\", trust_x_forwarded_for = true, or both";
            return Err(wrong(what.into()));
        }
        Ok(Self {
            storage: location(file.storage.as_deref(), &file.state_dir).map_err(wrong)?,
            ca_keys: file.ca_keys.unwrap_or_else(|| vec![KeySource::File(file.state_dir.join("ca"))]),
            name: file.name,
            listen: file.listen,
            state_dir: file.state_dir,
            roles_dir: file.roles_dir,
            tls: file.tls,
            hops,
            proxy_protocol: file.proxy_protocol,
            event_log: file.event_log,
            policy_readers: file
                .policy_readers
                .map(|texts| networks("policy_readers", &texts))
                .transpose()
                .map_err(wrong)?,
            knock_secret: file.knock_secret,
            trusted_clusters: file.trusted_cluster,
        })
    }

    /// Reads what nodes are to go by, with these lines of CA keys, and sees to it that it goes together.
    ///
    /// # Errors
    /// The first file that is wrong; what does not fit.
    pub fn rules(&self, user_ca: &str) -> Result<Rules, ConfigError> {
        // For the errors, which name line and column.
        self.roles()?;
        let trusted = self.trusted_clusters.iter().map(TrustedClusterTable::read);
        let rules = Rules::new(
            user_ca.lines().map(str::to_owned).collect(),
            self.role_texts()?.into_iter().map(role_file).collect(),
            trusted.collect::<Result<_, _>>()?,
        );
        rules.policy(&self.name).map_err(|error| ConfigError::of(&self.roles_dir, error))?;
        Ok(rules)
    }

    /// Whether a cluster of this name is trusted.
    pub fn trusts(&self, cluster: &str) -> bool {
        self.trusted_clusters.iter().any(|trusted| trusted.name == cluster)
    }

    /// The files of roles, in name order.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub(crate) fn role_texts(&self) -> Result<Vec<(PathBuf, String)>, ConfigError> {
        role_files(&self.roles_dir)?.into_iter().map(|path| Ok((path.clone(), read(&path)?))).collect()
    }

    /// Reads the roles: the `*.yaml` files of the directory, in name order.
    ///
    /// # Errors
    /// The first file that is wrong, with line and column; that two roles have one name.
    pub fn roles(&self) -> Result<Vec<Role>, ConfigError> {
        let files = self.role_texts()?;
        let roles = read_roles(&files)?;
        Ok(roles.into_iter().map(|(_, role)| role).collect())
    }
}

/// The roles of these files, each with its file's path.
///
/// # Errors
/// The first file that is wrong, with line and column; that two roles have one name.
pub(crate) fn read_roles(files: &[(PathBuf, String)]) -> Result<Vec<(&Path, Role)>, ConfigError> {
    let mut roles: Vec<(&Path, Role)> = Vec::new();
    for (path, text) in files {
        let found = Role::parse_all(text).map_err(|error| ConfigError {
            path: path.clone(),
            place: format!(":{}:{}", error.line, error.column),
            what: error.what,
        })?;
        for role in found {
            if roles.iter().any(|(_, known)| known.name == role.name) {
                return Err(ConfigError::of(path, format!("role {:?} is there twice", role.name)));
            }
            roles.push((path, role));
        }
    }
    Ok(roles)
}

impl TrustedClusterTable {
    fn read(&self) -> Result<TrustedCluster, ConfigError> {
        let Self { name, user_ca, roles_from, default_roles, role_map, on_expiry } = self.clone();
        let lines = read(&user_ca)?;
        let keys = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let user_ca = keys.map(str::to_owned).collect();
        let role_map = role_map.into_iter().map(Into::into).collect();
        Ok(TrustedCluster { name, user_ca, roles_from, default_roles, role_map, on_expiry })
    }
}

fn role_file((path, text): (PathBuf, String)) -> RoleFile {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    RoleFile { name, text }
}

fn role_files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let error = |error: std::io::Error| ConfigError::of(directory, format!("cannot be listed: {error}"));
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).map_err(error)?.collect();
    let paths = entries.map_err(error)?.into_iter().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let error = |error: std::io::Error| ConfigError::of(path, format!("cannot be read: {error}"));
    let mut text = String::new();
    fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)).map_err(error)?;
    if text.len() as u64 > LARGEST {
        return Err(ConfigError::of(path, format!("longer than {LARGEST} bytes")));
    }
    Ok(text)
}

fn networks(key: &str, texts: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        let alone = || text.parse::<std::net::IpAddr>().map(IpNet::from).ok();
        let network = text.parse().ok().or_else(alone);
        let network = network.ok_or_else(|| format!("{key}: {text:?} is no network"))?;
        // Observed addresses are canonical: none would ever be in it.
        if matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() && v6.prefix_len() >= 96) {
            return Err(format!("{key}: {text:?} is IPv4: write it as such"));
        }
        Ok(network)
    };
    texts.iter().map(network).collect()
}

fn location(text: Option<&str>, state_dir: &Path) -> Result<Location, String> {
    match text {
        None => Ok(Location::Sqlite(state_dir.join("authority.db"))),
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => postgres(url),
        Some(other) => match other.strip_prefix("sqlite://") {
            Some(path) if path.starts_with('/') => Ok(Location::Sqlite(path.into())),
            _ => Err("storage is neither sqlite:///PATH nor postgres://…".into()),
        },
    }
}

/// Hashes of passwords, second factors and roles go there and back: in clear on this machine alone.
fn postgres(url: &str) -> Result<Location, String> {
    let options: PgConnectOptions =
        url.parse().map_err(|_may_hold_a_password: sqlx::Error| "storage is no address of a PostgreSQL")?;
    let host = options.get_host().trim_matches(['[', ']']);
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_here =
        options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback;
    if is_here || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        Ok(Location::Postgres(url.to_owned()))
    } else {
        Err(format!("storage: a PostgreSQL on another machine ({host}) needs ?sslmode=verify-full"))
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, byte: usize) -> String {
    let before = &text[..byte.min(text.len())];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

fn everywhere() -> Vec<SocketAddr> {
    vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8443))]
}

fn state_dir() -> PathBuf {
    "/var/lib/cotter-authority".into()
}

fn roles_dir() -> PathBuf {
    "/etc/cotter/roles.d".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.toml");
        fs::write(&path, text).unwrap();
        let name = directory.path().display().to_string();
        Config::load(&path).map_err(|error| error.to_string().replace(&name, ""))
    }

    #[test]
    fn a_name_is_enough() {
        let config = load("name = \"example.com\"").unwrap();
        assert_eq!(config.storage, Location::Sqlite("/var/lib/cotter-authority/authority.db".into()));
        assert_eq!(config.ca_keys, [KeySource::File("/var/lib/cotter-authority/ca".into())]);
        assert_eq!(config.hops, Hops::default());
    }

    #[test]
    fn a_postgresql_is_on_this_machine_or_reached_by_tls() {
        for url in [
            "postgres:///cotter?host=/run/postgresql",
            "postgres://cotter@localhost/cotter",
            "postgres://[::1]/cotter",
            "postgres://db.example.com/cotter?sslmode=verify-full",
        ] {
            let config = load(&format!("name = \"a\"\nstorage = \"{url}\"")).unwrap();
            assert_eq!(config.storage, Location::Postgres(url.to_owned()));
        }
        assert!(load("name = \"a\"\nstorage = \"postgres://db/cotter?sslmode=require\"").is_err());
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, error) in [
            ("name = \"\"", "/authority.toml: name is empty or holds a slash"),
            ("name = \"a\"\nnmae = 1", "/authority.toml:2:1: unknown field `nmae`"),
            ("name = \"a\"\nproxy_protocol = \"auto\"", "/authority.toml:2:18: unknown variant `auto`"),
            ("name = \"a\"\nproxy_protocol = \"on\"", "/authority.toml: trusted_proxies goes with"),
            ("name = \"a\"\ntrusted_proxies = [\"10.0.0.1\"]", "/authority.toml: trusted_proxies goes with"),
            (
                "name = \"a\"\nstorage = \"postgres://db/cotter\"",
                "/authority.toml: storage: a PostgreSQL on another machine (db) needs ?sslmode=verify-full",
            ),
            (
                "name = \"a\"\ntrusted_proxies = [\"::ffff:10.0.0.0/104\"]",
                "/authority.toml: trusted_proxies: \"::ffff:10.0.0.0/104\" is IPv4",
            ),
            ("name = \"a\"\nca_keys = [1]", "/authority.toml:2:11: neither the path of a key nor"),
            ("name = \"a\"\nstorage = \"mysql://\"", "/authority.toml: storage is neither"),
        ] {
            let found = load(text).unwrap_err();
            assert!(found.starts_with(error), "{text:?}: {found}");
        }
    }
}
