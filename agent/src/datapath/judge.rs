//! Asks the kernel program what it says of a packet, without sending the packet and without a trace in live maps.

use std::path::Path;

use agent_ebpf::{ABI_VERSION, Action, Layer, Reason};
use aya::Ebpf;
use aya::maps::{MapData, MapError, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions};

use super::pins::version_directory;
use super::{Error, object};

/// The shortest packet that `BPF_PROG_TEST_RUN` takes: an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// A second copy of the XDP program. It reads the policy maps of the running one and counts in maps of its own.
pub struct Judge {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    seen: [u64; Reason::ALL.len()],
    seen_overruled: [u64; Reason::ALL.len()],
}

/// What the program says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Why it would be dropped, where audit mode lets it pass.
    pub overruled: Option<Reason>,
}

impl Judge {
    /// Loads the program over what an agent of this version has pinned below `pin_dir`, whether it still runs or not.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let directory = version_directory(pin_dir, ABI_VERSION);
        // The loader would make and pin what is missing, and this must leave no trace.
        if let Some(missing) = object::POLICY.iter().map(|map| directory.join(map)).find(|map| !map.exists())
        {
            return Err(Error::NotLoaded { path: missing });
        }
        let mut ebpf = object::load_judge(&directory)?;
        let counters = ebpf.take_map("COUNTERS").ok_or(MapError::InvalidName { name: "COUNTERS".into() });
        let counters = counters.and_then(PerCpuArray::try_from).map_err(Error::map("COUNTERS"))?;
        Ok(Self { ebpf, counters, seen: [0; _], seen_overruled: [0; _] })
    }

    /// Runs the program on a packet that begins with what `layer` says.
    pub fn judge(&mut self, packet: &[u8], layer: Layer) -> Result<Judgement, Error> {
        let frame = ethernet(packet, layer);
        let program = object::Program::Xdp.name();
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        object::xdp(&mut self.ebpf)?
            .test_run(options)
            .map_err(Error::program(program, "cannot be run on a packet"))?;
        let reason = self.counted(Reason::counter, |judge| &mut judge.seen)?;
        let overruled = match reason {
            Some(Reason::Audit) => {
                self.counted(Reason::overruled_counter, |judge| &mut judge.seen_overruled)?
            }
            Some(_) | None => None,
        };
        let reason = reason.ok_or(aya::programs::ProgramError::NotLoaded);
        let reason = reason.map_err(Error::program(program, "has counted nothing"))?;
        Ok(Judgement { action: reason.action(), reason, overruled })
    }

    /// The reason whose counter has moved since the last packet.
    fn counted(
        &mut self,
        counter: fn(Reason) -> u32,
        seen: fn(&mut Self) -> &mut [u64; Reason::ALL.len()],
    ) -> Result<Option<Reason>, Error> {
        for reason in Reason::ALL {
            let values = self.counters.get(&counter(reason), 0).map_err(Error::map("COUNTERS"))?;
            let count: u64 = values.iter().sum();
            let before = std::mem::replace(&mut seen(self)[reason as usize], count);
            if count != before {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }
}

/// The packet with the Ethernet header that the program expects, and at least that.
fn ethernet(packet: &[u8], layer: Layer) -> Vec<u8> {
    let mut frame = match layer {
        Layer::Ethernet => Vec::with_capacity(packet.len()),
        Layer::Ip => {
            let ethertype: [u8; 2] = match packet.first().map(|byte| byte >> 4) {
                Some(4) => [0x08, 0x00],
                Some(6) => [0x86, 0xdd],
                Some(_) | None => [0, 0],
            };
            [&[0; 12], &ethertype[..]].concat()
        }
    };
    frame.extend_from_slice(packet);
    if frame.len() < ETHERNET_HEADER {
        frame.resize(ETHERNET_HEADER, 0);
    }
    frame
}
