//! A foreign program that decides alone: whatever comes, it gives the same answer, and who stands behind it is not asked.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::sys::{Stats, enable_stats};
use lab::{Place, eventually};
use std::os::fd::OwnedFd;

/// `TC_ACT_OK` of `linux/pkt_cls.h`: the packet goes on to the stack, past all that is behind.
pub(super) const PASS: i32 = 0;
/// `TC_ACT_UNSPEC`: those behind are asked, so that it does not decide after all.
pub(super) const NEXT: i32 = -1;

const NAME: &str = "decider";

/// The loaded program and, if it is at TCX, its link there.
pub(super) struct Decider {
    node: Place,
    ebpf: Ebpf,
    link: Option<SchedClassifierLink>,
    /// The kernel counts runs for as long as somebody holds this.
    _counting: OwnedFd,
}

impl Decider {
    pub(super) fn load(node: &Place, answer: i32) -> Result<Self> {
        let mut ebpf = Ebpf::load(&object(answer))?;
        classifier(&mut ebpf)?.load()?;
        Ok(Self { node: node.clone(), ebpf, link: None, _counting: enable_stats(Stats::RunTime)? })
    }

    /// Goes to the front, or to the end, of the TCX programs of a device; from where it was, if it was there.
    pub(super) fn at_tcx(&mut self, device: &str, order: LinkOrder) -> Result<()> {
        self.leave_tcx(device)?;
        self.link = Some(self.attach(device, TcAttachOptions::TcxOrder(order))?);
        Ok(())
    }

    /// Leaves TCX. A process that another test begins at this moment may hold a copy of the link until it runs.
    pub(super) fn leave_tcx(&mut self, device: &str) -> Result<()> {
        self.link = None;
        let id = self.id()?;
        eventually("the link is gone", || {
            let (_revision, line) =
                self.node.enter(|| SchedClassifier::query_tcx(device, TcAttachType::Ingress))??;
            Ok((!line.iter().any(|program| program.id() == id)).then_some(()))
        })
    }

    /// Becomes the newest filter of this priority at clsact, for as long as the device lives.
    pub(super) fn at_clsact(&mut self, device: &str, priority: u16) -> Result<()> {
        let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
        // Dropping it would delete a filter in the network of whoever drops it.
        self.attach(device, options).map(std::mem::forget)
    }

    fn attach(&mut self, device: &str, options: TcAttachOptions) -> Result<SchedClassifierLink> {
        let program = classifier(&mut self.ebpf)?;
        self.node.enter(|| {
            let id = program.attach_with_options(device, TcAttachType::Ingress, options)?;
            Ok(program.take_link(id)?)
        })?
    }

    pub(super) fn id(&self) -> Result<u32> {
        let program: &SchedClassifier = self.ebpf.program(NAME).context("no program")?.try_into()?;
        Ok(program.info()?.id())
    }

    /// How many packets it has seen.
    pub(super) fn seen(&self) -> Result<u64> {
        let program: &SchedClassifier = self.ebpf.program(NAME).context("no program")?.try_into()?;
        Ok(program.info()?.run_count())
    }
}

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    Ok(ebpf.program_mut(NAME).context("no program")?.try_into()?)
}

/// An ELF file with one program: `r0 = answer; exit`.
fn object(answer: i32) -> Vec<u8> {
    const STRINGS: &[u8] = b"\0classifier\0decider\0";
    const HEADER: u64 = 64;
    const CODE: u64 = 16;
    const SYMBOLS: u64 = 48;

    let strings = STRINGS.len() as u64;
    let tables = (HEADER + CODE + SYMBOLS + strings).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // Relocatable, for BPF, version 1; no entry, the section table; no flags, sizes and numbers.
    file.extend([1u16, 247, 1, 0].map(u16::to_le_bytes).as_flattened());
    file.extend([0, 0, tables].map(u64::to_le_bytes).as_flattened());
    file.extend([0u16, 0, 64, 0, 0, 64, 4, 3].map(u16::to_le_bytes).as_flattened());
    file.extend([0xb7, 0, 0, 0]);
    file.extend(answer.to_le_bytes());
    file.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    // No symbol; then `decider`, global, a function, in section 1, at 0.
    file.resize(file.len() + 24, 0);
    file.extend([12, 0, 0, 0, 0x12, 0, 1, 0]);
    file.extend([0, CODE].map(u64::to_le_bytes).as_flattened());
    file.extend(STRINGS);
    file.resize(tables as usize, 0);
    let mut section = |name: u32, kind: u32, [flags, at, size, linked, entry]: [u64; 5]| {
        file.extend([name, kind].map(u32::to_le_bytes).as_flattened());
        file.extend([flags, 0, at, size, linked, 8, entry].map(u64::to_le_bytes).as_flattened());
    };
    section(0, 0, [0; 5]);
    section(1, 1, [6, HEADER, CODE, 0, 0]);
    // Its strings are in section 3, and symbol 1 is the first that is global.
    section(0, 2, [0, HEADER + CODE, SYMBOLS, 3 | 1 << 32, 24]);
    section(0, 3, [0, HEADER + CODE + SYMBOLS, strings, 0, 0]);
    file
}
