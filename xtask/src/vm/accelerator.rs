//! How guests are run: by the processor itself or by software.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::guest;
use super::kernel::Kernel;

/// How long a kernel may take to find that it has no root file system, where the processor runs it.
const PROBE: Duration = Duration::from_secs(8);

/// What runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor.
    Kvm,
    /// Qemu's translator.
    Tcg,
}

impl Accelerator {
    /// KVM if one of the kernels gets as far as a panic on it, else TCG.
    pub(crate) fn find(kernels: &[Kernel]) -> Result<Self> {
        let why_not = match (why_not_kvm(), kernels.first()) {
            (None, Some(kernel)) => why_kernel_hangs(kernel)?,
            (why, _) => why,
        };
        Ok(match why_not {
            None => Self::Kvm,
            Some(why) => {
                println!("xtask: no KVM ({why}): software runs the guests, some times slower");
                Self::Tcg
            }
        })
    }

    /// The same as qemu's arguments.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // The oldest processor that Debian's kernels and programs make good use of is the fastest to imitate.
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "Nehalem"],
        }
    }

    /// What the guest is told of it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kvm => "",
            // A processor that no other program shares has no secrets to keep; each change of page tables costs software
            // all that it has translated.
            Self::Tcg => "cotter.slow pti=off spectre_v2=off",
        }
    }
}

/// What already shows that there is no use in trying.
fn why_not_kvm() -> Option<String> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm") {
        return Some("the processor offers none".to_owned());
    }
    // Runs guests that know of it, and no others.
    if Path::new("/sys/module/kvm_pvm").exists() {
        return Some("this machine's own guests must know of kvm_pvm".to_owned());
    }
    if !Path::new("/dev/kvm").exists() {
        return Some("no /dev/kvm".to_owned());
    }
    None
}

/// Boots the kernel without a root file system: it must panic, and soon.
fn why_kernel_hangs(kernel: &Kernel) -> Result<Option<String>> {
    let mut probe = guest::qemu();
    probe.args(Accelerator::Kvm.arguments()).args(["-m", "256", "-no-reboot", "-nic", "none"]);
    probe.args(["-append", "console=ttyS0 panic=-1 root=/dev/nope"]).arg("-kernel").arg(kernel.image());
    let log = super::cache::directory().join("kvm-probe.log");
    probe.arg("-serial").arg(guest::to_file(&log)).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = ended_well_within(PROBE, &mut probe)?;
    let panicked = fs::read(&log).is_ok_and(|said| String::from_utf8_lossy(&said).contains("Kernel panic"));
    Ok((!ended || !panicked).then(|| format!("{} does not boot on it", kernel.release)))
}

fn ended_well_within(limit: Duration, command: &mut Command) -> Result<bool> {
    let mut child = guest::Ended::when_dropped(command.spawn().context("cannot run qemu")?);
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_hangs_ends_with_its_limit() -> Result<()> {
        let pid = tempfile::NamedTempFile::new()?;
        let mut hung = Command::new("sh");
        hung.args(["-c", "echo $$ >\"$0\"; exec sleep 600"]).arg(pid.path());
        let start = Instant::now();
        assert!(!ended_well_within(Duration::from_millis(500), &mut hung)?);
        assert!(start.elapsed() < Duration::from_secs(5));
        let pid = fs::read_to_string(pid.path())?;
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid} lives");
        Ok(())
    }

    #[test]
    fn a_probe_that_ends_in_time_is_asked_how() -> Result<()> {
        assert!(ended_well_within(PROBE, &mut Command::new("true"))?);
        assert!(!ended_well_within(PROBE, &mut Command::new("false"))?);
        Ok(())
    }
}
