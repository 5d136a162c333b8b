//! The clock, by which certificates and locks begin and end.
#![expect(unsafe_code, reason = "adjtimex(2) is the only one to know, and no safe form of it is to be had")]

use std::mem::zeroed;
use std::path::Path;

use super::{Finding, Node};

/// What systemd-timesyncd leaves once it has set the clock (systemd-timesyncd.service(8)).
const SET: &str = "/run/systemd/timesync/synchronized";

pub(super) fn findings(_: &Node) -> Vec<Finding> {
    if is_synchronised() || Path::new(SET).exists() {
        return vec![Finding::ok("clock", "the clock is synchronised")];
    }
    vec![Finding::warning(
        "clock",
        "the clock is not synchronised: certificates may count too long, or not yet",
        "run systemd-timesyncd or chrony, and see that they reach a server",
    )]
}

/// Whether somebody keeps the kernel's clock: without, it says `TIME_ERROR`.
fn is_synchronised() -> bool {
    // SAFETY: all zeros is a value of every field; no mode is set, so this only asks.
    let mut question: libc::timex = unsafe { zeroed() };
    // SAFETY: the kernel writes into the struct, which lives until it returns.
    let state = unsafe { libc::adjtimex(&raw mut question) };
    state >= 0 && state != libc::TIME_ERROR
}
