//! XDP programs run on a packet over and over (`BPF_PROG_TEST_RUN`): nothing is sent.

use anyhow::{Context, Result, bail};
use aya::Ebpf;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use rustix::time::{ClockId, clock_gettime};

/// How often a packet is judged for one figure.
pub(crate) const REPEAT: u32 = 200_000;

/// `XDP_PASS` of `linux/bpf.h`.
const PASS: u32 = 2;

/// A loaded program, held by its pin.
#[derive(Debug)]
pub(crate) struct Program {
    pin: String,
    program: Xdp,
}

impl Program {
    /// The program that is pinned there.
    pub(crate) fn pinned(pin: &str) -> Result<Self> {
        let program = Xdp::from_pin(pin, XdpAttachType::Interface).with_context(|| pin.to_owned())?;
        Ok(Self { pin: pin.to_owned(), program })
    }

    /// Loads a program of an object and pins it below `directory`.
    pub(crate) fn load(object: &[u8], name: &str, directory: &str) -> Result<Self> {
        let pin = format!("{directory}/{name}");
        let mut ebpf = Ebpf::load(object)?;
        let program: &mut Xdp = ebpf.program_mut(name).with_context(|| name.to_owned())?.try_into()?;
        program.load().with_context(|| name.to_owned())?;
        program.pin(&pin).with_context(|| pin.clone())?;
        Self::pinned(&pin)
    }

    /// Nanoseconds of processor time that a packet takes, which must pass.
    pub(crate) fn cost(&self, packet: &[u8]) -> Result<f64> {
        let options = TestRunOptions { data_in: Some(packet), repeat: REPEAT, ..TestRunOptions::new() };
        let before = clock_gettime(ClockId::ThreadCPUTime);
        let result = self.program.test_run(options).with_context(|| self.pin.clone())?;
        let after = clock_gettime(ClockId::ThreadCPUTime);
        if result.return_value != PASS {
            bail!("{}: did not pass the packet: {}", self.pin, result.return_value);
        }
        let seconds = (after.tv_sec - before.tv_sec) as f64;
        let nanoseconds = seconds * 1e9 + (after.tv_nsec - before.tv_nsec) as f64;
        Ok(nanoseconds / f64::from(REPEAT))
    }
}
