//! How long this machine's processors are busy receiving.

use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::{MapData, PerCpuArray};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf};

/// Counts as long as it is held.
pub(crate) struct Receiving {
    spent: PerCpuArray<MapData, [u64; 2]>,
    _programs: Ebpf,
}

impl Receiving {
    /// Begins to count.
    pub(crate) fn count(object: &[u8]) -> Result<Self> {
        let mut ebpf = Ebpf::load(object)?;
        let btf = Btf::from_sys_fs()?;
        // In this order, since only what was seen to begin may end.
        for (name, tracepoint) in [("receiving_begins", "softirq_entry"), ("receiving_ends", "softirq_exit")]
        {
            let program: &mut BtfTracePoint = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load(tracepoint, &btf).context(name)?;
            program.attach().context(name)?;
        }
        let spent = ebpf.take_map("RECEIVING").context("RECEIVING")?.try_into()?;
        Ok(Self { spent, _programs: ebpf })
    }

    /// How long all of them have received.
    pub(crate) fn total(&self) -> Result<Duration> {
        let spent = self.spent.get(&0, 0)?;
        Ok(Duration::from_nanos(spent.iter().map(|[_begun, received]| received).sum()))
    }
}
