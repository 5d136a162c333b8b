//! The keys that get in whatever happens to Cotter.

use std::path::Path;

use cotter_hook::{break_glass, trusted_file};

use super::{Finding, Node, PATIENCE};
use crate::command;
use crate::setup::snippet::BREAK_GLASS;

/// The most bytes of the file that the hook reads.
const MOST: u64 = 256 * 1024;

pub(super) fn findings(_: &Node) -> Vec<Finding> {
    let file = Path::new(BREAK_GLASS);
    let (keys, what) = match trusted_file::read(file, MOST) {
        Ok(content) => (break_glass::keys(&content), "has no key".to_owned()),
        Err(error) if error.is_missing() => (0, "is not there".to_owned()),
        Err(error) => (0, format!("is not believed: {error}")),
    };
    if keys == 0 {
        let remedy = "put an administrator's public key there before mode enforce, as root's and writable by root alone";
        return vec![Finding::warning("break-glass", format!("{BREAK_GLASS} {what}"), remedy)];
    }
    let readable = readable_keys(file);
    if readable < keys {
        let what = format!("of {keys} keys in {BREAK_GLASS} {} cannot be read", keys - readable);
        return vec![Finding::warning(
            "break-glass",
            what,
            format!("ssh-keygen -l -f {BREAK_GLASS} shows the others"),
        )];
    }
    vec![Finding::ok("break-glass", format!("{BREAK_GLASS} has {keys} keys"))]
}

/// How many keys OpenSSH finds in the file.
fn readable_keys(file: &Path) -> usize {
    let listed = command::text(command::program("ssh-keygen").arg("-l").arg("-f").arg(file), PATIENCE);
    listed.map_or(0, |listed| listed.lines().count())
}
