//! The root file system: a small Debian with systemd, logind, PAM and sshd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use super::kernel::Kernel;
use crate::{cargo, setup, step};

/// What makes the guest a whole system, beside what the lab needs.
const SYSTEM: [&str; 12] = [
    "adduser",
    "chrony",
    "dbus",
    "kmod",
    "libpam-systemd",
    "login",
    "logrotate",
    "nftables",
    "openssh-sftp-server",
    "systemd",
    "systemd-sysv",
    "udev",
];
/// What is different from any other Debian.
const CUSTOMIZE: Script = Script {
    path: "tests/vm/image/customize.sh",
    text: include_str!("../../../tests/vm/image/customize.sh"),
};
const MAKE_DISK: Script = Script {
    path: "tests/vm/image/make-disk.sh",
    text: include_str!("../../../tests/vm/image/make-disk.sh"),
};
const SIZE: &str = "2G";

/// A script that makes a part of the guest.
pub(crate) struct Script {
    /// In the workspace.
    pub(crate) path: &'static str,
    /// What it says: another text makes another thing.
    pub(crate) text: &'static str,
}

impl Script {
    /// Where it lies.
    pub(crate) fn file(&self) -> PathBuf {
        cargo::root().join(self.path)
    }

    /// An argument of mmdebstrap.
    pub(crate) fn hook(&self) -> String {
        format!("--customize-hook={}", self.file().display())
    }
}

/// This machine's Debian, from whose archive the guest comes as well.
pub(crate) struct Debian {
    /// Such as `bookworm`.
    pub(crate) codename: String,
    /// The files that say where its packages come from.
    files: Vec<PathBuf>,
}

impl Debian {
    /// Reads what this machine says of itself.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let codename =
            codename.context("/etc/os-release names no VERSION_CODENAME")?.trim_matches('"').to_owned();
        let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().map_while(Result::ok);
        let mut files: Vec<_> = parts.map(|entry| entry.path()).collect();
        files.push("/etc/apt/sources.list".into());
        files.retain(|file| is_source_of(file, &codename));
        files.sort();
        if files.is_empty() {
            bail!("no file of /etc/apt names a source of {codename}");
        }
        Ok(Self { codename, files })
    }

    /// The same as mmdebstrap's arguments.
    pub(crate) fn sources(&self) -> Vec<String> {
        self.files.iter().map(|file| file.display().to_string()).collect()
    }
}

/// Whether apt reads the file, and a line of it names the suite.
fn is_source_of(file: &Path, suite: &str) -> bool {
    let read_by_apt = file.extension().is_some_and(|extension| extension == "list" || extension == "sources");
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    read_by_apt && lines.any(|line| line.split_whitespace().any(|word| word == suite))
}

/// The root file system without a kernel, as a directory.
pub(crate) fn root() -> Result<PathBuf> {
    let debian = Debian::of_this_machine()?;
    let sources = debian.sources();
    let mut packages: Vec<_> = SYSTEM.into_iter().chain(setup::lab_packages()).collect();
    packages.sort_unstable();
    packages.dedup();
    let packages = packages.join(",");
    cache::thing("root", (CUSTOMIZE.text, &packages, &sources, &debian.codename), |directory| {
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap
            .args(["--mode=root", "--variant=essential", "--format=directory"])
            .args(["--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io"])
            .arg(format!("--include={packages}"))
            .arg(CUSTOMIZE.hook())
            .arg(&debian.codename)
            .arg(directory)
            .args(&sources);
        step::run("mmdebstrap: the guest's file system (one minute)", &mut bootstrap).map(drop)
    })
}

/// The file system with a kernel's modules, as a disk.
pub(crate) fn disk(root: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let name = format!("disk-{}", kernel.series.name());
    cache::thing(&name, (MAKE_DISK.text, SIZE, root, &kernel.directory), |disk| {
        let mut make = Command::new("unshare");
        make.args(["--mount", "--propagation", "private"])
            .arg(MAKE_DISK.file())
            .arg(&kernel.directory)
            .arg(root)
            .arg(disk)
            .arg(SIZE);
        step::run(&format!("mke2fs: a disk with {}", kernel.release), &mut make).map(drop)
    })
}
