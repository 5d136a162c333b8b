//! `detach --all`: takes what a stopped agent has left in the kernel out of it.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config::Places;
use crate::datapath;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// From every interface, and forget every session
    #[arg(long, required = true)]
    all: bool,
}

pub(super) fn detach(common: &Common, _all: &Options) -> Result<Exit, Failure> {
    let pin_dir = Places::of(&common.config).bpf_pin_dir;
    let interfaces =
        datapath::remove(&pin_dir).map_err(|error| Failure::unavailable(super::run::chain(&error)))?;
    if common.json {
        output::json(&serde_json::json!({ "interfaces": interfaces }));
    } else if interfaces.is_empty() {
        output::line("nothing of ours is attached");
    } else {
        output::line(&format!("detached from {}", interfaces.join(", ")));
    }
    Ok(Exit::Done)
}
