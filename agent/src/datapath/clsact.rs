//! TC filters at the clsact qdisc, for kernels without TCX. Such a filter is no file: it stays until it is deleted.

use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{SchedClassifier, TcAttachType};

use super::Error;
use super::object::Program;
use crate::interfaces::Interface;
use crate::interfaces::netlink::{GET_FILTER, attribute, dump, number, text};

/// A BPF filter on a device's way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    priority: u16,
    handle: u32,
    /// The program's id.
    pub(super) program: u32,
}

/// The BPF filters on the way in of the device with this index.
pub(super) fn filters(interface: u32) -> Result<Vec<Filter>, Error> {
    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
    const INGRESS: u32 = 0xffff_fff2;

    let mut request = [0; 20];
    request[4..8].copy_from_slice(&interface.to_ne_bytes());
    request[12..16].copy_from_slice(&INGRESS.to_ne_bytes());
    let answers = dump(GET_FILTER, &request).map_err(Error::Interfaces)?;
    Ok(answers.iter().filter_map(|message| filter(message)).collect())
}

/// Reads a `tcmsg` and its attributes.
fn filter(message: &[u8]) -> Option<Filter> {
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const BPF_ID: u16 = 11;

    let (header, rest) = message.split_at_checked(20)?;
    if text(attribute(rest, KIND)?) != "bpf" {
        return None;
    }
    let program = attribute(rest, OPTIONS).and_then(|options| attribute(options, BPF_ID)).and_then(number)?;
    let priority = (number(&header[16..])? >> 16) as u16;
    Some(Filter { priority, handle: number(&header[8..])?, program })
}

/// Adds our filter as far in front as the filters that are there allow; they all stay as they are.
pub(super) fn attach(
    tc: &mut SchedClassifier,
    program: Program,
    interface: &Interface,
) -> Result<Filter, Error> {
    const PRIORITIES: u16 = 64;

    // Somebody else's qdisc at the same place serves as well, and then adding ours fails.
    let qdisc = tc::qdisc_add_clsact(&interface.name);
    let mut failure = None;
    for priority in 1..=PRIORITIES {
        // A filter of another kind may hold a priority; filters of our kind share it, the newest in front.
        let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
        match tc
            .attach_with_options(&interface.name, TcAttachType::Ingress, options)
            .and_then(|id| tc.take_link(id))
        {
            Ok(link) => {
                if priority > 1 {
                    let interface = interface.name.as_str();
                    tracing::warn!(
                        interface,
                        "filters of others at clsact come before ours and may decide alone"
                    );
                }
                return keep(tc, program, link);
            }
            Err(error) => failure.get_or_insert(error),
        };
    }
    let what = match qdisc {
        Ok(()) => "cannot be attached".to_owned(),
        Err(error) => format!("cannot be attached; clsact: {error}"),
    };
    Err(Error::program(program.name(), &what)(failure.unwrap_or(aya::programs::ProgramError::NotAttached)))
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

/// Deletes our filter. The qdisc stays: others may have come to use it.
pub(super) fn detach(filter: &Filter, interface: &str) -> Result<(), Error> {
    // Dropping such a link deletes its filter.
    link(filter, interface).map(drop)
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
