//! What the tasks need of the machine, found by looking and installed where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::{Toolchain, bpf_target};
use crate::{apt, cargo, step};

/// The versions of what is built with `cargo install`: the linker, the packager, the policy checker, the mutator.
const BPF_LINKER: &str = "0.13.0";
const CARGO_DEB: &str = "3.8.0";
const CARGO_DENY: &str = "0.20.2";
const CARGO_MUTANTS: &str = "27.1.0";
/// Where Debian keeps the LLVM that the linker is built with.
const LLVM: &str = "/usr/lib/llvm-22";

/// Which tasks are to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Building, testing, the demo.
    Running,
    /// The same, and the bench.
    Measuring,
    /// Virtual machines.
    Vm,
    /// Fuzz targets.
    Fuzzing,
    /// Format, lints, licences.
    Linting,
    /// Mutants.
    Mutating,
    /// The package.
    Packaging,
    /// All of them.
    Everything,
}

impl Needs {
    fn include(self, other: Self) -> bool {
        self == other || self == Self::Everything || (self == Self::Measuring && other == Self::Running)
    }

    /// Whether the kernel programs are built.
    fn kernel_programs(self) -> bool {
        self != Self::Mutating && self != Self::Fuzzing
    }
}

/// A file to look for (a program by its name, anything else by its path) and Debian's package for it.
type Need = (&'static str, &'static str);

/// For building: a linker, and the headers that C parts of crates are compiled with. `.cargo/cc` has brought them if this
/// task was built on this machine.
const BUILD: [Need; 2] = [("cc", "gcc"), ("/usr/include/stdio.h", "libc6-dev")];
/// For the lab and the suite.
const LAB: [Need; 30] = [
    ("/usr/lib/systemd/systemd", "systemd"),
    ("sshd", SSHD),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("ps", "procps"),
    ("rsync", "rsync"),
    ("/usr/bin/git", "git"),
    ("ansible", "ansible-core"),
    ("setpriv", "util-linux"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("xdp-filter", "xdp-tools"),
    ("promtool", PROMETHEUS),
    ("nft", "nftables"),
    ("iptables-save", "iptables"),
    ("mptcpize", "mptcpize"),
    ("haproxy", HAPROXY),
    ("nginx", NGINX),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("jq", "jq"),
    ("mosh", "mosh"),
    ("python3", "python3"),
    ("/usr/lib/postgresql/15/bin/initdb", POSTGRES),
];
/// For libFuzzer, which comes as source in C++.
const FUZZ: [Need; 1] = [("c++", "g++")];
/// For the list of advisories, which is a git repository.
const LINT: [Need; 2] = [("git", "git"), ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates")];
/// To find out what the binaries need, and to look the package over.
const PACKAGE: [Need; 2] = [("dpkg-shlibdeps", "dpkg-dev"), ("lintian", "lintian")];
/// For virtual machines.
const VM: [Need; 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("setpriv", "util-linux"),
];
/// To compare with.
const BENCH: [Need; 4] =
    [("xdp-filter", "xdp-tools"), ("nft", "nftables"), ("iptables", "iptables"), ("ipset", "ipset")];
const SSHD: &str = "openssh-server";
const PROMETHEUS: &str = "prometheus";
const HAPROXY: &str = "haproxy";
const NGINX: &str = "nginx";
const POSTGRES: &str = "postgresql";
/// Packages with a service, its program and its name.
const SERVERS: [(&str, &str, &str); 5] = [
    (SSHD, "sshd", "ssh"),
    (PROMETHEUS, "prometheus", "prometheus"),
    (HAPROXY, "haproxy", "haproxy"),
    (NGINX, "nginx", "nginx"),
    (POSTGRES, "pg_ctlcluster", "postgresql"),
];
/// For building the linker.
const LINKER: [Need; 4] = [
    ("/usr/lib/llvm-22/bin/llvm-config", "llvm-22-dev"),
    ("c++", "g++"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/zstd.h", "libzstd-dev"),
];
/// For the kernel programs where rustup has no nightly with `rust-src`.
const DEBIAN_COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// Lints for that compiler.
pub(crate) const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";

/// Looks for what is needed, and installs what is not there.
pub(crate) fn run(needs: Needs) -> Result<()> {
    packages(needs)?;
    if needs.kernel_programs() {
        linker()?;
    }
    if needs.include(Needs::Linting) {
        install_tool("cargo-deny", CARGO_DENY)?;
        rustup_components()?;
    }
    if needs.include(Needs::Packaging) {
        install_tool("cargo-deb", CARGO_DEB)?;
    }
    if needs.include(Needs::Mutating) {
        install_tool("cargo-mutants", CARGO_MUTANTS)?;
    }
    Ok(())
}

/// Debian's packages for the lab and the suite.
pub(crate) fn lab_packages() -> impl Iterator<Item = &'static str> {
    LAB.into_iter().map(|(_, package)| package)
}

fn packages(needs: Needs) -> Result<()> {
    let mut wanted: Vec<&str> = Vec::new();
    let mut look = |list: &[Need]| {
        for (file, package) in list {
            if find(file).is_none() && !wanted.contains(package) {
                wanted.push(package);
            }
        }
    };
    look(&BUILD);
    if needs.include(Needs::Running) {
        look(&LAB);
    }
    if [Needs::Fuzzing, Needs::Running, Needs::Linting].into_iter().any(|task| needs.include(task)) {
        look(&FUZZ);
    }
    if needs.include(Needs::Vm) {
        look(&VM);
    }
    if needs.include(Needs::Measuring) {
        look(&BENCH);
    }
    if needs.include(Needs::Linting) {
        look(&LINT);
    }
    if needs.include(Needs::Packaging) {
        look(&PACKAGE);
    }
    if needs.kernel_programs() && find("bpf-linker").is_none() {
        look(&LINKER);
    }
    if needs.kernel_programs() && !compiler_is_there() {
        wanted.extend(DEBIAN_COMPILER);
    }
    if needs.include(Needs::Linting) && !has_nightly_sources() && find(DEBIAN_CLIPPY).is_none() {
        wanted.push("rust-web-clippy");
    }
    install(&wanted)
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !apt::is_there() {
        bail!("missing on this machine, named as Debian's packages: {list}");
    }
    if !is_root() {
        bail!("missing packages, and only root can install them: apt-get install {list}");
    }
    let installed = apt::install(packages);
    // Also if some other package failed: the next call finds them there, and cannot know that nobody wanted them to run.
    for (package, program, service) in SERVERS {
        if packages.contains(&package) && find(program).is_some() {
            apt::disable_service(service)?;
        }
    }
    installed
}

/// The kernel programs' linker, built from source.
fn linker() -> Result<()> {
    if find("bpf-linker").is_none() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let bin = Path::new(LLVM).join("bin");
        let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?;
        let mut install = cargo::command();
        install
            .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"])
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM)
            .env("PATH", path);
        step::run("cargo install bpf-linker (two minutes)", &mut install)?;
    }
    toolchain().map(drop)
}

fn install_tool(name: &str, version: &str) -> Result<()> {
    if find(name).is_none() {
        let mut install = cargo::command();
        install.args(["install", name, "--version", version, "--locked"]);
        step::run(&format!("cargo install {name} (some minutes)"), &mut install)?;
    }
    Ok(())
}

/// Parts of rustup's toolchain; the same one that runs this task has them unless somebody left them out.
fn rustup_components() -> Result<()> {
    let works =
        |tool: &str| cargo::command().args([tool, "--version"]).output().is_ok_and(|o| o.status.success());
    let missing: Vec<_> =
        [("fmt", "rustfmt"), ("clippy", "clippy")].into_iter().filter(|(tool, _)| !works(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add"]).args(missing.iter().map(|(_, component)| component));
    step::run("rustup component add (rustfmt, clippy)", &mut add)
        .context("these parts of the Rust toolchain are needed for the lints")?;
    Ok(())
}

/// What builds the kernel programs on this machine.
pub(crate) fn toolchain() -> Result<Toolchain> {
    Ok(Toolchain::find(target())?)
}

/// The BPF target of this machine.
pub(crate) fn target() -> &'static str {
    bpf_target(if cfg!(target_endian = "big") { "big" } else { "little" })
}

/// Whether some compiler has `core` for BPF, with or without a linker.
fn compiler_is_there() -> bool {
    Toolchain::find(target()).is_ok() || has_nightly_sources() || debian_core_is_there()
}

fn has_nightly_sources() -> bool {
    let sysroot = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output();
    let Ok(output) = sysroot else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

fn debian_core_is_there() -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Status}\n"])
        .args(DEBIAN_COMPILER)
        .output();
    query.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| *line == "install ok installed").count() == DEBIAN_COMPILER.len()
    })
}

/// A file by its path, or a program by its name: on the search path, where only root looks, or in cargo's own place.
fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// Whether this process may do what root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
