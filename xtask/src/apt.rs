//! Debian's packages.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// Asked by package scripts before they start or stop a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether this is a Debian or one of its children.
pub(crate) fn is_there() -> bool {
    Path::new("/usr/bin/apt-get").is_file()
}

/// Installs the packages, without starting the services that come with them.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    step::run("apt-get update", Command::new("apt-get").args(["-q", "update"]))?;
    let _placeholder = Placeholder::put()?;
    // The answer "101: action forbidden" lies over the real file only for this process and its children.
    let script = "printf '#!/bin/sh\\nexit 101\\n' >/dev/shm/$$ && chmod 755 /dev/shm/$$ \
        && mount --bind /dev/shm/$$ \"$0\" && rm /dev/shm/$$ \
        && exec apt-get -qy -o DPkg::Lock::Timeout=600 install --no-install-recommends \"$@\"";
    step::run(
        &format!("apt-get install {}", packages.join(" ")),
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, POLICY])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}

/// Keeps a service that was just installed from starting at the next boot.
pub(crate) fn disable_service(name: &str) -> Result<()> {
    let mut command = if Path::new("/usr/bin/systemctl").is_file() {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["--quiet", "disable", name]);
        systemctl
    } else {
        let mut rc = Command::new("update-rc.d");
        rc.args([name, "disable"]);
        rc
    };
    step::run(&format!("keep {name} from starting at boot: nobody asked for a server here"), &mut command)?;
    Ok(())
}

/// An empty, not executable policy file to lay the answer over, if there is none; such a file forbids nothing.
struct Placeholder {
    ours: bool,
}

impl Placeholder {
    fn put() -> Result<Self> {
        match OpenOptions::new().write(true).create_new(true).open(POLICY) {
            Ok(_) => Ok(Self { ours: true }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).context(POLICY),
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("xtask: cannot remove {POLICY}: {error}");
        }
    }
}
