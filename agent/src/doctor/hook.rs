//! The hook's file: sshd runs it only where nobody but root could have written it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Finding, Node};

/// Where the package puts it.
const HOOK: &str = "/usr/lib/cotter/cotter-hook";

pub(super) fn findings(_: &Node) -> Vec<Finding> {
    vec![match problem(Path::new(HOOK)) {
        None => Finding::ok("hook", format!("{HOOK} is there, and root's alone")),
        Some(problem) => {
            let what = format!("{problem}: sshd does not run {HOOK}");
            Finding::error("hook", what, "apt-get install --reinstall cotter")
        }
    }]
}

fn problem(hook: &Path) -> Option<String> {
    for path in hook.ancestors() {
        let name = path.display();
        match fs::metadata(path) {
            Err(error) => return Some(format!("{name}: {error}")),
            Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => {
                return Some(format!("{name} is not root's alone"));
            }
            Ok(found) if found.mode() & 0o111 != 0o111 => {
                return Some(format!("not everybody may run {name}"));
            }
            Ok(_) => {}
        }
    }
    None
}
