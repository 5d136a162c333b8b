//! TC filters at the clsact qdisc, for kernels without TCX. Such a filter is no file: it stays until it is deleted.

use std::fmt;

use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{SchedClassifier, TcAttachType};

use super::Error;
use super::object::Program;
use crate::interfaces::Interface;
use crate::interfaces::netlink::{DELETE_FILTER, GET_FILTER, attribute, change, dump, number, text};

/// A filter of ours, or of an earlier agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    priority: u16,
    handle: u32,
    /// The program's id.
    pub(super) program: u32,
}

/// A filter of whatever kind and whomever's on a device's way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    kind: String,
    protocol: u16,
    priority: u16,
    handle: u32,
    /// The id of its program; filters of other kinds, and of classic BPF, have none.
    program: Option<u32>,
}

impl Entry {
    /// The program of a BPF filter, and where it hangs.
    pub(super) fn filter(&self) -> Option<Filter> {
        self.program.map(|program| Filter { priority: self.priority, handle: self.handle, program })
    }

    /// Whether it stands for what judges packets. The kernel lists what filters of one priority share first, with handle
    /// 0. Of BPF the filters themselves count; of other kinds that head, since they list more than filters.
    fn judges(&self) -> bool {
        (self.kind == BPF) == (self.handle != 0)
    }

    /// Whether filters of ours may join those of its priority, in front of them.
    fn makes_room(&self) -> bool {
        self.kind == BPF && self.protocol == ALL_PROTOCOLS
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clsact filter {} of priority {}", self.kind, self.priority)?;
        self.program.map_or(Ok(()), |program| write!(f, " (program {program})"))
    }
}

const BPF: &str = "bpf";
/// `ETH_P_ALL`, the protocol of our filters.
const ALL_PROTOCOLS: u16 = 3;

/// The filters on the way in of the device with this index, in the order in which they are asked. Those that only
/// another filter leads to (chains other than the first) are left out.
pub(super) fn entries(interface: u32) -> Result<Vec<Entry>, Error> {
    let answers = dump(GET_FILTER, &ingress(interface, 0, 0)).map_err(Error::Interfaces)?;
    Ok(answers.iter().filter_map(|message| entry(message)).collect())
}

/// A `tcmsg` about the way in of a device.
fn ingress(interface: u32, handle: u32, info: u32) -> [u8; 20] {
    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
    const INGRESS: u32 = 0xffff_fff2;

    let mut message = [0; 20];
    let words = [interface, handle, INGRESS, info];
    for (place, word) in message[4..].chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    message
}

/// Reads a `tcmsg` and its attributes.
fn entry(message: &[u8]) -> Option<Entry> {
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const CHAIN: u16 = 11;
    const BPF_ID: u16 = 11;

    let (header, rest) = message.split_at_checked(20)?;
    if attribute(rest, CHAIN).and_then(number).is_some_and(|chain| chain != 0) {
        return None;
    }
    let kind = text(attribute(rest, KIND)?);
    let options = attribute(rest, OPTIONS).filter(|_| kind == BPF);
    let program = options.and_then(|options| attribute(options, BPF_ID)).and_then(number);
    let info = number(&header[16..])?;
    let (priority, protocol) = ((info >> 16) as u16, u16::from_be(info as u16));
    Some(Entry { kind, protocol, priority, handle: number(&header[8..])?, program })
}

/// What is asked before `ours`; `None` if ours is not there.
pub(super) fn before<'e>(ours: &Filter, entries: &'e [Entry]) -> Option<Vec<&'e Entry>> {
    let place = entries.iter().position(|entry| entry.filter().is_some_and(|filter| filter == *ours))?;
    Some(entries[..place].iter().filter(|entry| entry.judges()).collect())
}

/// Whether a new filter of ours would come before more of the others than `ours` does.
pub(super) fn can_advance(ours: &Filter, entries: &[Entry]) -> bool {
    let front = front(entries);
    before(ours, entries).unwrap_or_default().iter().any(|entry| entry.priority >= front)
}

/// The foremost priority that a filter of ours can have: a priority holds filters of one kind and protocol only, the
/// newest in front.
fn front(entries: &[Entry]) -> u16 {
    let taken = |priority| entries.iter().any(|entry| entry.priority == priority && !entry.makes_room());
    (1..u16::MAX).find(|priority| !taken(*priority)).unwrap_or(u16::MAX)
}

/// Adds our filter as far in front as the filters that are there allow; they all stay as they are.
pub(super) fn attach(
    tc: &mut SchedClassifier,
    program: Program,
    interface: &Interface,
) -> Result<Filter, Error> {
    // Somebody else's qdisc at the same place serves as well, and then adding ours fails.
    let qdisc = tc::qdisc_add_clsact(&interface.name);
    let priority = front(&entries(interface.index)?);
    let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
    let attached = tc
        .attach_with_options(&interface.name, TcAttachType::Ingress, options)
        .and_then(|id| tc.take_link(id));
    let what = match qdisc {
        Ok(()) => "cannot be attached".to_owned(),
        Err(error) => format!("cannot be attached; clsact: {error}"),
    };
    keep(tc, program, attached.map_err(Error::program(program.name(), &what))?)
}

/// Puts this agent's program behind the filter of an earlier one.
pub(super) fn replace(
    tc: &mut SchedClassifier,
    program: Program,
    interface: &str,
    filter: &Filter,
) -> Result<Filter, Error> {
    let failed = Error::program(program.name(), "cannot take the earlier one's place");
    let id = tc.attach_to_link(link(filter, interface)?).map_err(failed)?;
    let link =
        tc.take_link(id).map_err(Error::program(program.name(), "cannot take the earlier one's place"))?;
    keep(tc, program, link)
}

/// Deletes our filter from the device with this index; that it is gone is fine. The qdisc stays: others may have come to
/// use it.
pub(super) fn detach(filter: &Filter, interface: u32) -> Result<(), Error> {
    // The kernel goes by the place alone, and another's filter may have taken it.
    if !entries(interface)?.iter().any(|entry| entry.filter() == Some(*filter)) {
        return Ok(());
    }
    let info = u32::from(filter.priority) << 16 | u32::from(ALL_PROTOCOLS.to_be());
    change(DELETE_FILTER, &ingress(interface, filter.handle, info)).map_err(Error::Interfaces)
}

fn link(filter: &Filter, interface: &str) -> Result<SchedClassifierLink, Error> {
    let handle = TcHandle::from(filter.handle);
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, filter.priority, handle, None)
        .map_err(Error::Interfaces)
}

/// Notes where the filter is, and lets it outlive the link that dropping would delete it with.
fn keep(tc: &SchedClassifier, program: Program, link: SchedClassifierLink) -> Result<Filter, Error> {
    let found = || Ok((link.priority()?, link.handle()?, tc.info()?.id()));
    let filter = found()
        .map(|(priority, handle, program)| Filter { priority, handle: handle.into(), program })
        .map_err(Error::program(program.name(), "cannot be looked up"));
    std::mem::forget(link);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Filter = Filter { priority: 2, handle: 1, program: 7 };

    fn bpf(priority: u16, handle: u32, program: u32) -> Entry {
        Entry { kind: BPF.into(), protocol: ALL_PROTOCOLS, priority, handle, program: Some(program) }
    }

    /// What the kernel lists before the filters of a priority.
    fn head(kind: &str, priority: u16) -> Entry {
        Entry { kind: kind.into(), protocol: ALL_PROTOCOLS, priority, handle: 0, program: None }
    }

    #[test]
    fn a_filter_advances_within_its_priority_and_past_those_that_make_room() {
        let alone = [head(BPF, 2), bpf(2, 1, 7)];
        assert_eq!(before(&OURS, &alone), Some(vec![]));
        assert!(!can_advance(&OURS, &alone));

        let newer = [head(BPF, 2), bpf(2, 2, 8), bpf(2, 1, 7)];
        assert_eq!(before(&OURS, &newer), Some(vec![&newer[1]]));
        assert!(can_advance(&OURS, &newer));

        let lower = [head(BPF, 1), bpf(1, 1, 8), head(BPF, 2), bpf(2, 1, 7)];
        assert!(can_advance(&OURS, &lower));
        assert_eq!(front(&lower), 1);
    }

    #[test]
    fn filters_of_other_kinds_and_protocols_keep_their_priority() {
        let mut one_protocol = bpf(1, 1, 8);
        one_protocol.protocol = 0x0800;
        for held in [vec![head("fw", 1)], vec![one_protocol]] {
            let line = [held, vec![head(BPF, 2), bpf(2, 1, 7)]].concat();
            assert_eq!(before(&OURS, &line), Some(vec![&line[0]]));
            assert_eq!(front(&line), 2);
            assert!(!can_advance(&OURS, &line));
        }
    }

    #[test]
    fn a_filter_that_is_gone_has_no_place() {
        assert_eq!(before(&OURS, &[head(BPF, 2), bpf(2, 1, 8)]), None);
    }
}
