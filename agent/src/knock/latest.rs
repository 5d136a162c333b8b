//! The time of the latest knock that was taken, in `state_dir/knock`: an agent that takes over refuses what is not later.

use crate::daemon::replace;
use cotter_knock::UnixMillis;
use std::io;
use std::path::{Path, PathBuf};

/// The file: a line with Unix milliseconds.
#[derive(Debug)]
pub(super) struct Latest {
    path: PathBuf,
    /// What is there, or was tried to be put there.
    kept: UnixMillis,
}

impl Latest {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join("knock"), kept: UnixMillis(0) }
    }

    /// What was kept. Without it, or if it makes no sense, only what was made before the agent's start is refused.
    pub(super) fn read(&self) -> Option<UnixMillis> {
        let kept = match std::fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
            Ok(text) => text.trim().parse::<u64>().map_err(|error| format!("{text:?}: {error}")),
        };
        let told = |error: &String| tracing::error!("{}: {error}", self.path.display());
        kept.inspect_err(told).ok().map(UnixMillis)
    }

    /// Keeps it, durably, as the end of its second: so the disk is written once a second at most, whoever knocks how often.
    /// If that fails, what was kept before is still there, and the log says so, once a second as well.
    pub(super) fn keep(&mut self, latest: UnixMillis) {
        let end = UnixMillis((latest.0 / 1000 + 1) * 1000 - 1);
        if self.kept == end {
            return;
        }
        self.kept = end;
        if let Err(error) = replace(&self.path, format!("{}\n", end.0).as_bytes(), 0o600) {
            tracing::warn!("the latest knock may be forgotten: {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_and_what_makes_no_sense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut latest = Latest::in_dir(dir.path());
        assert_eq!(latest.read(), None);
        latest.keep(UnixMillis(1_800_000_000_001));
        assert_eq!(latest.read(), Some(UnixMillis(1_800_000_000_999)));
        std::fs::write(dir.path().join("knock"), "soon").unwrap();
        assert_eq!(latest.read(), None);
        latest.keep(UnixMillis(1_800_000_000_500));
        assert_eq!(latest.read(), None, "written twice within a second");
        latest.keep(UnixMillis(1_800_000_001_000));
        assert_eq!(latest.read(), Some(UnixMillis(1_800_000_001_999)));
    }
}
