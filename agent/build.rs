//! Builds the kernel programs and tells the crate where their object lies (`COTTER_EBPF_OBJECT`).

#[path = "build/toolchain.rs"]
mod toolchain;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toolchain::{Toolchain, bpf_target};

fn main() {
    if let Err(error) = build() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let target = bpf_target(&variable("CARGO_CFG_TARGET_ENDIAN")?);
    let toolchain = Toolchain::find(target)?;

    let build_directory = out.join("kernel");
    let status = toolchain
        .cargo("build", target, &variable("CARGO_CFG_TARGET_ARCH")?)
        .args(["--quiet", "--package", "agent-ebpf", "--bin", "cotter-ebpf", "--features", "bpf"])
        .arg("--target-dir")
        .arg(&build_directory)
        .current_dir(&workspace)
        .status()?;
    if !status.success() {
        return Err("building the kernel programs failed; the compiler's messages are above".into());
    }

    let object = build_directory.join(target).join("release/cotter-ebpf");
    functions_lie_together(&fs::read(&object)?)?;
    println!("cargo::rustc-env=COTTER_EBPF_OBJECT={}", object.display());
    let own =
        ["agent/build.rs", "agent/build/toolchain.rs", "agent-ebpf/Cargo.toml", "Cargo.toml", "Cargo.lock"];
    for file in own.iter().map(|file| workspace.join(file)).chain(sources(&object)?).chain(toolchain.files())
    {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(())
}

/// Makes sure that all functions that programs call are in one section: aya-obj 0.3.0 tells those of a program apart by their
/// offset alone, and of two that lie at the same one in two sections has the first called for both.
fn functions_lie_together(object: &[u8]) -> Result<(), &'static str> {
    // A section's name is also the end of that of its relocations.
    let is_other = |name: &[u8]| name.starts_with(b".text.") || name.starts_with(b".rel.text.");
    match object.split(|byte| *byte == 0).any(is_other) {
        true => Err("the kernel programs have functions in more than one section"),
        false => Ok(()),
    }
}

/// The sources that went into the object: the dependency file that cargo writes beside it lists them in make's syntax.
fn sources(object: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let rule = fs::read_to_string(object.with_extension("d"))?;
    let (_, prerequisites) =
        rule.split_once(": ").ok_or("the kernel programs' dependency file has no rule")?;
    let joined = prerequisites.trim_end().replace("\\ ", "\0");
    Ok(joined.split(' ').map(|file| PathBuf::from(file.replace('\0', " "))).collect())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
