//! What the kernel has counted, read from the pinned maps by `bpftool`, whether an agent lives or not.

use agent_ebpf::{ABI_VERSION, Reason};
use anyhow::{Context, Result};
use serde_json::Value;

use crate::place::Place;

/// Packets by the reason that they came to their end for, on all processors together, in the order of [`Reason::ALL`].
pub fn packets(node: &Place) -> Result<Vec<(Reason, u64)>> {
    let counters = dump(node, "COUNTERS")?;
    let count = |reason: Reason| -> Result<(Reason, u64)> {
        let counter = counters.get(reason.counter() as usize).context("no such counter")?;
        let per_cpu = counter["values"].as_array().context("not a per-CPU map")?;
        let numbers = per_cpu.iter().map(|value| first_number(&value["value"]));
        Ok((reason, numbers.sum::<Result<u64>>()?))
    };
    Reason::ALL.into_iter().map(count).collect()
}

/// Packets that were dropped of the session with this id, as `sessions` lists it.
pub fn dropped_of_session(node: &Place, session: &str) -> Result<u64> {
    let id = u64::from_str_radix(session, 16).with_context(|| format!("session id {session}"))?;
    let wanted = Value::from(id.to_ne_bytes().map(|byte| format!("{byte:#04x}")).to_vec());
    let drops = dump(node, "DROPS")?;
    let entry = drops.iter().find(|entry| entry["key"] == wanted);
    first_number(&entry.with_context(|| format!("no session {session} in DROPS"))?["value"])
}

fn dump(node: &Place, map: &str) -> Result<Vec<Value>> {
    let path = format!("/sys/fs/bpf/cotter/v{ABI_VERSION}/{map}");
    let json = node.run("bpftool", &["-j", "map", "dump", "pinned", &path])?;
    serde_json::from_str(&json).with_context(|| format!("bpftool's dump of {path}"))
}

/// The first eight bytes of a value, which bpftool writes as a list of hexadecimal bytes.
fn first_number(bytes: &Value) -> Result<u64> {
    let byte =
        |at: usize| -> Option<u8> { u8::from_str_radix(bytes[at].as_str()?.strip_prefix("0x")?, 16).ok() };
    let mut number = [0; 8];
    for (at, slot) in number.iter_mut().enumerate() {
        *slot = byte(at).with_context(|| format!("{bytes} is no number"))?;
    }
    Ok(u64::from_ne_bytes(number))
}
