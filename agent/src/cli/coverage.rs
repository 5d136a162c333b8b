//! Which interfaces are covered and which are not, folded to what people take in at a glance.

use crate::daemon::call::Status;
use std::collections::BTreeMap;

/// How many names are told before the rest is only counted.
const TOLD: usize = 6;

/// The covered ones by the way of attaching: `eth0, eth1 by xdp; wg0 by tcx`.
pub(super) fn covered(status: &Status) -> Option<String> {
    grouped(status.attachments.iter().map(|it| (it.method.as_str(), it.interface.as_str())), " by ")
}

/// Those that should be covered and may not be, each with its reason.
pub(super) fn faults(status: &Status) -> Vec<String> {
    let faults = status.not_covered.iter().filter(|it| it.cause.fault().is_some());
    faults.map(|it| format!("{}: {}", it.interface, it.why)).collect()
}

/// Those that the configuration leaves out, by reason: `lo: loopback; docker0, veth1: virtual device`.
pub(super) fn left_out(status: &Status) -> Option<String> {
    let left_out = status.not_covered.iter().filter(|it| it.cause.fault().is_none());
    grouped(left_out.map(|it| (it.why.as_str(), it.interface.as_str())), ": ")
}

/// Things one after the other, the first few of them by name.
pub(super) fn folded(things: &[impl AsRef<str>]) -> String {
    let told: Vec<&str> = things.iter().take(TOLD).map(AsRef::as_ref).collect();
    match things.len() - told.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn grouped<'a>(named: impl Iterator<Item = (&'a str, &'a str)>, between: &str) -> Option<String> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, name) in named {
        groups.entry(group).or_default().push(name);
    }
    let groups: Vec<String> =
        groups.iter().map(|(group, names)| format!("{}{between}{group}", folded(names))).collect();
    (!groups.is_empty()).then(|| groups.join("; "))
}
