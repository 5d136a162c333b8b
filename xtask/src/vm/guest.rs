//! A running virtual machine.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use super::accelerator::Accelerator;
use super::kernel::Kernel;
use super::payload::Payload;

const PROCESSORS: &str = "2";
const MEMORY: &str = "2048";
/// Results and logs come out through a disk of this size; it takes no more room than what is written.
const RESULTS: u64 = 256 << 20;

/// What to boot, and with what.
pub(crate) struct Order<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) disk: &'a Path,
    pub(crate) payload: &'a Payload,
    pub(crate) accelerator: Accelerator,
    /// Of the suite only what is listed as depending on the kernel is to run.
    pub(crate) brief: bool,
    /// Another guest, with an older kernel, has shown what does not depend on the kernel.
    pub(crate) second: bool,
    /// Another machine stands beside it.
    pub(crate) peer: bool,
}

impl Order<'_> {
    /// What the guest is told of what it is to leave out.
    fn words(&self) -> &'static str {
        match (self.brief, self.second) {
            (false, false) => "",
            (false, true) => "cotter.again",
            (true, false) => "cotter.brief cotter.again",
            (true, true) => "cotter.brief cotter.again cotter.second",
        }
    }
}

/// A guest that runs what it was given; it ends when dropped.
pub(crate) struct Guest {
    qemu: Ended,
    words: File,
}

/// What a guest leaves behind, in one directory.
pub(crate) struct Traces {
    pub(crate) directory: PathBuf,
}

impl Traces {
    /// What the kernel and systemd say.
    pub(crate) fn serial(&self) -> PathBuf {
        self.directory.join("serial.log")
    }

    /// What the runner says, line by line.
    pub(crate) fn words(&self) -> PathBuf {
        self.directory.join("runner.log")
    }

    /// A tar archive of what it has put aside.
    pub(crate) fn results(&self) -> PathBuf {
        self.directory.join("results.tar")
    }
}

impl Guest {
    /// Boots it; its traces go to `traces`, whose directory is emptied.
    pub(crate) fn boot(order: &Order, traces: &Traces) -> Result<Self> {
        let directory = &traces.directory;
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        File::create(traces.results())?.set_len(RESULTS)?;
        File::create(traces.words())?;
        let mut qemu = machine(order, PROCESSORS, MEMORY);
        qemu.arg("-append").arg(command_line(&format!("{} {}", order.accelerator.word(), order.words())));
        qemu.arg("-serial").arg(to_file(&traces.serial())).arg("-serial").arg(to_file(&traces.words()));
        qemu.arg("-drive").arg(drive("results", &traces.results(), "off"));
        qemu.args(["-device", "virtio-blk-pci,drive=results,serial=results"]);
        if order.peer {
            qemu.args(wire("node", "peer", "52:54:00:00:00:01")).current_dir(directory);
        }
        let complaints = File::create(directory.join("qemu.log"))?;
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        let child = qemu.spawn().context("cannot run qemu")?;
        Ok(Self::new(child, File::open(traces.words())?))
    }

    /// A machine that runs, whose runner's words come to a file.
    pub(crate) fn new(qemu: Child, words: File) -> Self {
        Self { qemu: Ended::when_dropped(qemu), words }
    }

    /// What the runner has said since the last call.
    pub(crate) fn news(&mut self) -> Result<String> {
        let start = self.words.stream_position()?;
        let mut news = Vec::new();
        self.words.read_to_end(&mut news)?;
        // The last line may be half written; it will be whole at the next look.
        let whole = news.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.words.seek(SeekFrom::Start(start + whole as u64))?;
        Ok(String::from_utf8_lossy(&news[..whole]).replace('\r', ""))
    }

    /// Whether the machine is switched off.
    pub(crate) fn is_off(&mut self) -> Result<bool> {
        Ok(self.qemu.try_wait()?.is_some())
    }
}

/// The machine beside a guest, whose traces it shares: it waits to be told what to do by the guest, and ends when dropped.
pub(crate) fn peer(order: &Order, traces: &Traces) -> Result<Ended> {
    let mut qemu = machine(order, "1", "512");
    qemu.arg("-append").arg(command_line("cotter.peer"));
    qemu.args(wire("peer", "node", "52:54:00:00:00:02")).current_dir(&traces.directory);
    qemu.arg("-serial").arg(to_file(&traces.directory.join("peer-serial.log")));
    qemu.arg("-serial").arg(to_file(&traces.directory.join("peer.log")));
    let complaints = File::create(traces.directory.join("peer-qemu.log"))?;
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
    Ok(Ended::when_dropped(qemu.spawn().context("cannot run qemu")?))
}

/// Arguments for a network device at this end of the wire between a guest and its peer, for machines that are run in the
/// directory of the traces: the path of a socket must be short. It has no offloads, which native XDP could not do with:
/// nobody is there to do them.
fn wire(own: &str, other: &str, address: &str) -> [String; 4] {
    let wire = format!("local.type=unix,local.path={own}.wire,remote.type=unix,remote.path={other}.wire");
    let device = format!("virtio-net-pci,netdev=wire,mac={address}");
    ["-netdev".into(), format!("dgram,id=wire,{wire}"), "-device".into(), device]
}

/// A root shell of the guest on this terminal.
pub(crate) fn shell(order: &Order) -> Result<ExitCode> {
    let mut qemu = machine(order, PROCESSORS, MEMORY);
    qemu.arg("-append").arg(command_line("cotter.shell")).args(["-serial", "mon:stdio"]);
    let mut child = Ended::when_dropped(qemu.spawn().context("cannot run qemu")?);
    println!("xtask: {} boots; `poweroff` ends it, Ctrl-A X at once", order.kernel.release);
    Ok(if child.wait()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Qemu, without any of the devices that it has by default; it dies with this process, however that ends.
pub(crate) fn qemu() -> Command {
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    qemu
}

/// An argument of `-serial`.
pub(crate) fn to_file(path: &Path) -> OsString {
    option("file:", path)
}

fn machine(order: &Order, processors: &str, memory: &str) -> Command {
    let mut qemu = qemu();
    qemu.args(order.accelerator.arguments()).args(["-smp", processors, "-m", memory]);
    qemu.arg("-kernel").arg(order.kernel.image());
    // The kernel has drivers for NVMe and ext4 built in: no initial file system is needed. With a second such device
    // their names would race.
    qemu.arg("-drive").arg(drive("root", order.disk, "on")).args(["-device", "nvme,drive=root,serial=root"]);
    qemu.arg("-drive").arg(drive("payload", &order.payload.archive, "on"));
    qemu.args(["-device", "virtio-blk-pci,drive=payload,serial=payload", "-device", "virtio-rng-pci"]);
    qemu
}

/// What the kernel is told; after a panic it starts anew, which the runner tells.
fn command_line(more: &str) -> String {
    format!("root=/dev/nvme0n1 rw console=ttyS0 panic=-1 systemd.show_status=1 {more}")
}

/// An argument of `-drive`; with `snapshot`, what is written is forgotten.
fn drive(name: &str, file: &Path, snapshot: &str) -> OsString {
    option(&format!("if=none,format=raw,cache=unsafe,id={name},snapshot={snapshot},file="), file)
}

/// Qemu takes a doubled comma for one that belongs to the value.
fn option(prefix: &str, path: &Path) -> OsString {
    format!("{prefix}{}", path.display().to_string().replace(',', ",,")).into()
}

/// A process that ends when dropped.
pub(crate) struct Ended(Child);

impl Ended {
    pub(crate) fn when_dropped(child: Child) -> Self {
        Self(child)
    }
}

impl Deref for Ended {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Ended {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Errors here mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
