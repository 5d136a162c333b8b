//! Debian's kernels for virtual machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::image::{Debian, Script};
use crate::step;

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Series {
    /// Debian 12's own.
    V6_1,
    /// The later one that Debian 12 offers.
    V6_12,
    /// The newest of Debian's backports.
    Newest,
}

impl Series {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    /// What its packages' names have in common.
    fn pattern(self) -> &'static str {
        match self {
            Self::V6_1 => r"^linux-image-6\.1\..*-cloud-amd64$",
            Self::V6_12 => r"^linux-image-6\.12\..*-cloud-amd64$",
            Self::Newest => r"^linux-image-[0-9]+\.[0-9]+\.[0-9].*-cloud-amd64$",
        }
    }

    /// The suite that its packages stand in, beside those of this machine.
    fn backports(self) -> Option<&'static str> {
        (self == Self::Newest).then_some("trixie-backports")
    }
}

/// A kernel, unpacked.
pub(crate) struct Kernel {
    pub(crate) series: Series,
    /// Holds `boot` and `usr/lib/modules`.
    pub(crate) directory: PathBuf,
    /// As `uname -r` says it.
    pub(crate) release: String,
}

impl Kernel {
    /// The file to boot.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join(format!("boot/vmlinuz-{}", self.release))
    }
}

const FETCH: Script = Script {
    path: "tests/vm/image/fetch-kernel.sh",
    text: include_str!("../../../tests/vm/image/fetch-kernel.sh"),
};

/// The newest kernel of the series that apt offers, or that it offered when this was called first.
pub(crate) fn unpacked(series: Series) -> Result<Kernel> {
    let debian = Debian::of_this_machine()?;
    let sources = debian.sources();
    let name = format!("kernel-{}", series.name());
    let directory =
        cache::thing(&name, (FETCH.text, series.pattern(), series.backports(), &sources), |directory| {
            let mut fetch = Command::new("mmdebstrap");
            fetch
                // Of the system itself nothing is wanted but the apt configuration.
                .args(["--mode=root", "--variant=custom", "--format=null", "--quiet"])
                .arg(FETCH.hook())
                .args([&debian.codename, "/dev/null"])
                .args(&sources)
                .env("KERNEL", directory)
                .env("PATTERN", series.pattern())
                .env("CODENAME", &debian.codename)
                .env("BACKPORTS", series.backports().unwrap_or_default());
            step::run(&format!("fetch the kernel: {}", series.name()), &mut fetch).map(drop)
        })?;
    let release = release(&directory)?;
    Ok(Kernel { series, directory, release })
}

fn release(directory: &Path) -> Result<String> {
    let boot = directory.join("boot");
    let mut names = fs::read_dir(&boot).with_context(|| boot.display().to_string())?.map_while(Result::ok);
    names
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
        .with_context(|| format!("no kernel in {}", boot.display()))
}
