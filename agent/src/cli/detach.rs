//! `detach --all`: takes what a stopped agent has left in the kernel out of it.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config::Places;
use crate::connections;
use crate::datapath;
use crate::interfaces::detour;

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
    let relayed = end_detour()
        .map_err(|error| Failure::unavailable(format!("rules for relayed connections: {error}")))?;
    if common.json {
        output::json(&serde_json::json!({ "interfaces": interfaces, "relayed": relayed }));
    } else if interfaces.is_empty() {
        output::line("nothing of ours is attached");
    } else {
        output::line(&format!("detached from {}", interfaces.join(", ")));
    }
    if relayed > 0 && !common.json {
        output::line(&format!(
            "{relayed} relayed connections go on; once they have ended: cotter-agent detach --all"
        ));
    }
    Ok(Exit::Done)
}

/// Takes away the rules that lead sshd's answers back to relayed connections, unless there are any, which would hang; how many
/// there are.
fn end_detour() -> std::io::Result<usize> {
    let relayed =
        connections::list(&detour::ports()?)?.iter().filter(|connection| connection.is_relayed()).count();
    if relayed == 0 {
        detour::set(&[])?;
    }
    Ok(relayed)
}
