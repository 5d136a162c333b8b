//! XDP programs run on a packet over and over (`BPF_PROG_TEST_RUN`): nothing is sent, or everything.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use lab::{ALICE, Lab};
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
        Self::load_by(&mut EbpfLoader::new(), object, name, &format!("{directory}/{name}"))
    }

    /// Loads a program of an object as the loader is told to, and pins it.
    pub(crate) fn load_by(loader: &mut EbpfLoader<'_>, object: &[u8], name: &str, pin: &str) -> Result<Self> {
        Self::load_of(&mut loader.load(object)?, name, pin)
    }

    /// Loads a program of what has been loaded, and pins it.
    pub(crate) fn load_of(ebpf: &mut Ebpf, name: &str, pin: &str) -> Result<Self> {
        let program: &mut Xdp = ebpf.program_mut(name).with_context(|| name.to_owned())?.try_into()?;
        program.load().with_context(|| name.to_owned())?;
        program.pin(pin).with_context(|| pin.to_owned())?;
        Self::pinned(pin)
    }

    /// Loads a program of an object, which alice's wire runs in its driver, at the node's end, for as long as this is held.
    pub(crate) fn at_wire(lab: &Lab, object: &[u8], name: &str) -> Result<Self> {
        lab.node().enter(|| Self::load(object, name, "/sys/fs/bpf"))??.on_wire(lab)
    }

    /// The same on alice's wire.
    pub(crate) fn on_wire(mut self, lab: &Lab) -> Result<Self> {
        let attached = lab.node().enter(|| self.program.attach(ALICE.device, XdpMode::Driver).map(drop))?;
        attached.with_context(|| format!("{} at {}", self.pin, ALICE.device))?;
        Ok(self)
    }

    /// Runs it on so many packets that are real from then on: what it redirects is sent. How long that takes a packet, as the
    /// kernel has it, until whoever receives it on this processor is done with it.
    pub(crate) fn send(&self, packet: &[u8], count: u32) -> Result<Duration> {
        // Half of what a wire holds: the more, the less of the figure is what sending a batch takes.
        const BATCH: u32 = 128;
        let options = TestRunOptions {
            data_in: Some(packet),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        Ok(self.program.test_run(options).with_context(|| self.pin.clone())?.duration)
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
