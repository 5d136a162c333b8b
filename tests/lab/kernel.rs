//! What the running kernel offers, where Linux versions differ.

use anyhow::{Context, Result};

/// Whether it has TCX (Linux 6.6); where it has not, TC's programs are filters at clsact.
pub fn has_tcx() -> Result<bool> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
    Ok(symbols.lines().any(|line| line.ends_with(" tcx_prog_attach")))
}
