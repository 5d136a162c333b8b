//! Where a configuration puts sockets, state and maps; found even in a configuration that is otherwise broken.

use std::path::{Path, PathBuf};

/// The directories that the command line needs to find a running agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Sockets.
    pub runtime_dir: PathBuf,
    /// What outlives a reboot.
    pub state_dir: PathBuf,
    /// Maps.
    pub bpf_pin_dir: PathBuf,
}

impl Places {
    /// The places that a configuration names, or the usual ones: a broken configuration must not keep an
    /// administrator from cutting a session.
    #[must_use]
    pub fn of(config: &Path) -> Self {
        let mut places = Self {
            runtime_dir: "/run/cotter".into(),
            state_dir: "/var/lib/cotter".into(),
            bpf_pin_dir: "/sys/fs/bpf/cotter".into(),
        };
        let extra =
            super::load::files_with_extension(&config.with_extension("d"), "toml").unwrap_or_default();
        for file in std::iter::once(config.to_owned()).chain(extra) {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for line in text.lines() {
                // Line by line, because a file that is broken elsewhere still says where the agent is.
                let Ok(table) = line.parse::<toml::Table>() else { continue };
                let path = |key| table.get(key).and_then(|value| value.as_str()).map(PathBuf::from);
                places.runtime_dir = path("runtime_dir").unwrap_or(places.runtime_dir);
                places.state_dir = path("state_dir").unwrap_or(places.state_dir);
                places.bpf_pin_dir = path("bpf_pin_dir").unwrap_or(places.bpf_pin_dir);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_a_broken_configuration_and_default_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("agent.toml");
        assert_eq!(Places::of(&config).runtime_dir, Path::new("/run/cotter"));
        std::fs::write(&config, "runtime_dir = \"/run/other\"\nmode = enforce\n[[cluster\n").unwrap();
        assert_eq!(Places::of(&config).runtime_dir, Path::new("/run/other"));
    }
}
