//! Asks the kernel program what it says of a packet, without sending the packet and without a trace in live maps.

use std::path::Path;

use agent_ebpf::{ABI_VERSION, Action, Layer, Packet, Reason, SessionId, Verdict};
use aya::Ebpf;
use aya::maps::{MapData, MapError, PerCpuArray};
use aya::programs::{ProgramError, TestRun, TestRunOptions};

use super::object::Program;
use super::pins::version_directory;
use super::{Error, Method, Tables, at_socket, attachment, object};

/// The shortest packet that `BPF_PROG_TEST_RUN` takes: an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// A second copy of the programs that judge packets. They read the policy maps of the running ones and count in maps of
/// their own.
pub struct Judge {
    ebpf: Ebpf,
    method: Method,
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
    /// Whose endpoint it comes to, if it comes to one.
    pub session: Option<SessionId>,
}

impl Judge {
    /// Loads the programs that judge where packets come in by `method`, over what an agent of this version has pinned
    /// below `pin_dir`, whether it still runs or not.
    pub fn open(pin_dir: &Path, method: Method) -> Result<Self, Error> {
        let directory = version_directory(pin_dir, ABI_VERSION);
        // The loader would make and pin what is missing, and this must leave no trace.
        if let Some(missing) = object::POLICY.iter().map(|map| directory.join(map)).find(|map| !map.exists())
        {
            return Err(Error::NotLoaded { path: missing });
        }
        let programs = [Layer::Ethernet, Layer::Ip].map(|layer| attachment::program(layer, method)).into();
        let mut ebpf = object::load_judge(&directory, &programs)?;
        let counters = ebpf.take_map("COUNTERS").ok_or(MapError::InvalidName { name: "COUNTERS".into() });
        let counters = counters.and_then(PerCpuArray::try_from).map_err(Error::map("COUNTERS"))?;
        Ok(Self { ebpf, method, counters, seen: [0; _], seen_overruled: [0; _] })
    }

    /// Runs the program on a packet that begins with what `layer` says. TC's programs take no packet that is longer than
    /// a page.
    pub fn judge(&mut self, packet: &[u8], layer: Layer) -> Result<Judgement, Error> {
        let program = attachment::program(layer, self.method);
        self.run(program, packet, layer)?;
        let reason = self.counted(Reason::counter, |judge| &mut judge.seen)?;
        let overruled = match reason {
            Some(Reason::Audit) => {
                self.counted(Reason::overruled_counter, |judge| &mut judge.seen_overruled)?
            }
            Some(_) | None => None,
        };
        let reason = reason.ok_or(ProgramError::NotLoaded);
        let reason = reason.map_err(Error::program(program.name(), "has counted nothing"))?;
        Ok(Judgement { action: reason.action(), reason, overruled, session: None })
    }

    /// The same, and what is said where the packet comes to if it passes: at a session's endpoint.
    pub fn judge_throughout(
        &mut self,
        packet: &[u8],
        layer: Layer,
        tables: &Tables,
    ) -> Result<Judgement, Error> {
        let at_device = self.judge(packet, layer)?;
        let Some(verdict) = at_socket(&Packet::parse(packet, layer), tables)? else { return Ok(at_device) };
        let Verdict { reason, overruled, session } = verdict;
        let session = (session != SessionId::NONE).then_some(session);
        if at_device.reason != Reason::NotProtected {
            return Ok(Judgement { session, ..at_device });
        }
        Ok(Judgement { action: reason.action(), reason, overruled, session })
    }

    fn run(&mut self, program: Program, packet: &[u8], layer: Layer) -> Result<(), Error> {
        let frame = frame(program, packet, layer);
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        let run = match program {
            Program::Xdp => object::xdp(&mut self.ebpf)?.test_run(options),
            Program::Tc | Program::TcLayer3 => object::classifier(&mut self.ebpf, program)?.test_run(options),
            Program::Close => Err(ProgramError::NotLoaded),
        };
        run.map(drop).map_err(Error::program(program.name(), "cannot be run on a packet"))
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

/// The packet as the program expects it, and at least as long as an Ethernet header.
fn frame(program: Program, packet: &[u8], layer: Layer) -> Vec<u8> {
    let mut frame = match (program, layer) {
        (Program::Xdp, Layer::Ip) => ethernet(packet).to_vec(),
        _as_it_is => Vec::with_capacity(packet.len()),
    };
    frame.extend_from_slice(packet);
    if frame.len() < ETHERNET_HEADER {
        frame.resize(ETHERNET_HEADER, 0);
    }
    frame
}

/// An Ethernet header for a packet that has none.
fn ethernet(packet: &[u8]) -> [u8; ETHERNET_HEADER] {
    let mut header = [0; ETHERNET_HEADER];
    let ethertype: u16 = match packet.first().map(|byte| byte >> 4) {
        Some(4) => 0x0800,
        Some(6) => 0x86dd,
        Some(_) | None => 0,
    };
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    header
}
