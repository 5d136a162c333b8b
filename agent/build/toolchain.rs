//! Finds what can build the kernel programs: a compiler with `core` for BPF, and the linker.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's compiler, for which Debian also packages a prebuilt `core`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Where `core` for BPF comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Core {
    /// Built from the sources of rustup's nightly.
    BuiltFromSource,
    /// Part of Debian's `libstd-rust-web-dev-bpf`.
    Prebuilt,
}

/// A way to build the kernel programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Where `core` comes from; the compiler follows from it.
    pub(crate) core: Core,
    /// The linker's path.
    pub(crate) linker: PathBuf,
}

/// Why there is no such way; the text says what to install.
#[derive(Debug)]
pub(crate) struct Missing {
    core: bool,
    linker: bool,
}

impl Toolchain {
    /// Looks for one that builds for `target` (`bpfel-unknown-none` or `bpfeb-unknown-none`): the usual one first.
    pub(crate) fn find(target: &str) -> Result<Self, Missing> {
        let core = if rustup_has_sources() {
            Some(Core::BuiltFromSource)
        } else if debian_has_core(target) {
            Some(Core::Prebuilt)
        } else {
            None
        };
        match (core, program("bpf-linker")) {
            (Some(core), Some(linker)) => Ok(Self { core, linker }),
            (core, linker) => Err(Missing { core: core.is_none(), linker: linker.is_none() }),
        }
    }

    /// A cargo command for the BPF target, still without its subcommand's arguments.
    ///
    /// `subcommand` is `build` or `clippy`; `arch` is the architecture of the kernel that the programs are for, as in
    /// `CARGO_CFG_TARGET_ARCH`. Nothing of the calling cargo's settings leaks in.
    pub(crate) fn cargo(&self, subcommand: &str, target: &str, arch: &str) -> Command {
        let mut command = match self.core {
            Core::BuiltFromSource => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", subcommand, "-Z", "build-std=core"]);
                command
            }
            Core::Prebuilt => {
                let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                command.arg(subcommand);
                command
            }
        };
        for (name, _) in env::vars_os().filter(|(name, _)| belongs_to_caller(name)) {
            command.env_remove(name);
        }
        if self.core == Core::Prebuilt {
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        }
        let linker = self.linker.display();
        let mut flags = vec![
            format!("-Clinker={linker}"),
            "-Clink-arg=--btf".into(),
            // What is cold goes into no section of its own: see `functions_lie_together`.
            "-Clink-arg=--llvm-args=-profile-guided-section-prefix=false".into(),
            format!("--cfg=bpf_target_arch=\"{}\"", kernel_arch(arch)),
        ];
        if reads_misaligned(arch) {
            flags.push("-Ctarget-feature=+allows-misaligned-mem-access".into());
        }
        command
            .args(["--release", "--target", target])
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            // BTF is made from full debug information; the linker optimises the whole program itself.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
        command
    }

    /// The files whose change means that the programs must be built anew.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let compiler = match self.core {
            Core::BuiltFromSource => rustup_nightly("sysroot").map(|sysroot| sysroot.join("bin/rustc")),
            Core::Prebuilt => Some(PathBuf::from(DEBIAN_RUSTC)),
        };
        compiler.into_iter().chain([self.linker.clone()]).collect()
    }
}

/// The BPF target of a machine with this byte order, as in `CARGO_CFG_TARGET_ENDIAN`.
pub(crate) fn bpf_target(endian: &str) -> &'static str {
    if endian == "big" { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// The kernel's bindings of all sizes of RISC-V extensions are the same.
fn kernel_arch(arch: &str) -> &str {
    if arch.starts_with("riscv64") { "riscv64" } else { arch }
}

/// Whether kernels of this architecture let programs read packets a word at a time wherever they begin
/// (`HAVE_EFFICIENT_UNALIGNED_ACCESS`).
fn reads_misaligned(arch: &str) -> bool {
    matches!(arch, "x86_64" | "aarch64" | "powerpc64" | "s390x")
}

/// Whether a variable is the calling cargo's or rustup's talk to its build script, and not the user's settings of
/// network, registries and directories.
fn belongs_to_caller(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_", "CARGO_SOURCE_"];
    let prefixes = ["CARGO", "RUSTC", "RUSTDOC", "DEP_", "CLIPPY_"];
    let names = [
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "MAKEFLAGS",
        "OUT_DIR",
        "TARGET",
        "HOST",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "NUM_JOBS",
    ];
    !kept.iter().any(|prefix| name.starts_with(prefix))
        && (names.contains(&&*name) || prefixes.iter().any(|prefix| name.starts_with(prefix)))
}

fn rustup_has_sources() -> bool {
    rustup_nightly("sysroot")
        .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
}

fn rustup_nightly(print: &str) -> Option<PathBuf> {
    printed(Command::new("rustup").args(["run", "nightly", "rustc", "--print", print]))
}

fn debian_has_core(target: &str) -> bool {
    let directory =
        printed(Command::new(DEBIAN_RUSTC).args(["--print", "target-libdir", "--target", target]));
    let entries = directory.and_then(|directory| directory.read_dir().ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn printed(command: &mut Command) -> Option<PathBuf> {
    let output =
        command.env_remove("RUSTUP_TOOLCHAIN").output().ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
}

/// A program on the path or where `cargo install` puts it.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cannot build the kernel programs")?;
        if self.core {
            writeln!(f, "  there is no compiler with `core` for BPF")?;
        }
        if self.linker {
            writeln!(f, "  there is no bpf-linker on the path or in cargo's bin directory")?;
        }
        writeln!(f, "install one of these two, then build again; `cargo xtask setup` does it on Debian:")?;
        writeln!(f, "  anywhere, with rustup:")?;
        writeln!(f, "    rustup toolchain install nightly --component rust-src")?;
        writeln!(f, "    cargo install bpf-linker")?;
        writeln!(f, "  on Debian, without nightly:")?;
        writeln!(
            f,
            "    apt install rustc-web libstd-rust-web-dev-bpf llvm-22-dev g++ zlib1g-dev libzstd-dev"
        )?;
        writeln!(f, "    LLVM_PREFIX=/usr/lib/llvm-22 PATH=/usr/lib/llvm-22/bin:$PATH \\")?;
        write!(f, "      cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22")
    }
}

impl std::error::Error for Missing {}
