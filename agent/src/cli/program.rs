//! Which of the loaded programs `explain` and `replay` ask.

use crate::datapath::Method;

#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct ProgramOptions {
    /// Ask TC's programs, as a node does where XDP is not to be had; all share one verdict
    #[arg(long)]
    tc: bool,
}

impl ProgramOptions {
    /// A method of attaching that the programs go with.
    pub(super) fn method(self) -> Method {
        if self.tc { Method::Tcx } else { Method::Xdp }
    }
}
