//! Where maps, programs and links are pinned: bpffs, and a directory of root's alone in it.

use super::{Finding, Node};
use crate::datapath::{self, causes};

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let directory = &node.places.bpf_pin_dir;
    let name = directory.display();
    if !datapath::is_on_bpffs(directory) {
        let what = format!("{name} is not on bpffs: nothing that the agent loads outlives it");
        return vec![Finding::error("bpffs", what, "mount -t bpf bpf /sys/fs/bpf, and restart the agent")];
    }
    let own = match datapath::check_pin_directory(directory) {
        Err(error) => Finding::error("pin-directory", causes(&error), "see to that, and restart the agent"),
        Ok(()) if node.is_open() && node.status.is_ok() && !datapath::is_loaded(directory) => {
            let what = format!("{name} holds no maps of the running agent: somebody has removed them");
            Finding::error("pin-directory", what, "systemctl restart cotter-agent")
        }
        Ok(()) => Finding::ok("pin-directory", format!("{name} is root's alone")),
    };
    vec![Finding::ok("bpffs", format!("{name} is on bpffs")), own]
}
