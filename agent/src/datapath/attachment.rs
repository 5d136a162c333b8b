//! Where the programs judge packets: one way of attaching for each device, chosen by trying.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_ebpf::Layer;
use aya::programs::links::FdLink;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, TcAttachType, XdpMode};

use super::clsact::{self, Filter};
use super::contest::Contest;
use super::line::{Line, Place};
use super::method::ways;
use super::object::{self, Program};
use super::{AttachMode, Datapath, Error, Method, TcHook, grace, link, pins};
use crate::interfaces::{self, Interface};

/// A device whose packets are judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The device's name.
    pub interface: String,
    /// The device's index.
    pub index: u32,
    /// The way that is in force.
    pub method: Method,
    /// The programs of others that come before ours, in words; they may decide alone.
    pub behind: Vec<String>,
}

/// An attachment and what keeps it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    pub(super) hold: Hold,
    pub(super) contest: Contest,
}

#[derive(Debug)]
pub(super) enum Hold {
    Link { pin: PathBuf, link: FdLink },
    Filter(Filter),
}

impl Datapath {
    /// Attaches to a device, first in line and beside whatever is there; what is attached already in a way that `how`
    /// allows stays as it is.
    pub fn attach(
        &mut self,
        interface: &Interface,
        how: AttachMode,
        hook: TcHook,
    ) -> Result<Attachment, Error> {
        let ways = ways(interface, how, hook, self.method(interface.index));
        if let Some(present) = self.attached.get_mut(&interface.index)
            && ways.contains(&present.attachment.method)
        {
            present.attachment.interface.clone_from(&interface.name);
            return Ok(present.attachment.clone());
        }
        if ways.iter().any(|method| method.is_xdp()) {
            // A device runs XDP either in the driver or in the stack, so the one must end before the other begins.
            self.end_other_xdp(interface.index)?;
        }
        let mut tried = Vec::new();
        for method in ways {
            match self.attach_by(interface, method) {
                Ok(hold) => return Ok(self.settle(interface, method, hold)),
                Err(error) => tried.push(format!("{method}: {}", causes(&error))),
            }
        }
        Err(Error::NotAttached { interface: interface.name.clone(), tried: tried.join("; ") })
    }

    /// Detaches from a device; fine if nothing is attached there.
    pub fn detach(&mut self, index: u32) -> Result<(), Error> {
        // What cannot be ended is kept in mind, and tried again at the next look.
        self.attached.get(&index).map_or(Ok(()), Attached::end)?;
        self.attached.remove(&index);
        Ok(())
    }

    /// Looks at every attachment and forgets those that are gone, because the device is or because somebody removed
    /// the program; returns them. What somebody removed from the pin directory alone is put back there.
    pub fn verify(&mut self) -> Result<Vec<Attachment>, Error> {
        let interfaces = interfaces::list().map_err(Error::Interfaces)?;
        let mut lost = Vec::new();
        for (index, attached) in std::mem::take(&mut self.attached) {
            let interface = interfaces.iter().find(|interface| interface.index == index);
            let attachment = attached.attachment.clone();
            let kept = match interface.map_or(Ok(false), |interface| attached.is_present(interface)) {
                Ok(true) => attached.pinned_again(),
                Ok(false) => attached.forgotten().map(|()| None),
                Err(error) => {
                    tracing::warn!(interface = attachment.interface, error = causes(&error), "not looked at");
                    Ok(Some(attached))
                }
            };
            match kept {
                Ok(Some(kept)) => drop(self.attached.insert(index, kept)),
                Ok(None) => lost.push(attachment),
                Err(error) => {
                    tracing::warn!(
                        interface = attachment.interface,
                        error = causes(&error),
                        "pin not as it should be"
                    );
                    lost.push(attachment);
                }
            }
        }
        Ok(lost)
    }

    fn method(&self, index: u32) -> Option<Method> {
        self.attached.get(&index).map(|present| present.attachment.method)
    }

    fn end_other_xdp(&mut self, index: u32) -> Result<(), Error> {
        if !self.method(index).is_some_and(Method::is_xdp) {
            return Ok(());
        }
        self.detach(index)?;
        // The kernel lets go of a link that was pinned a little later; if it takes too long, attaching tells.
        for _ in 0..100 {
            let interfaces = interfaces::list().map_err(Error::Interfaces)?;
            if !interfaces.iter().any(|interface| interface.index == index && interface.xdp.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Replaces what was attached before, if anything, by what is attached now.
    pub(super) fn settle(&mut self, interface: &Interface, method: Method, hold: Hold) -> Attachment {
        let (name, index) = (interface.name.clone(), interface.index);
        let attachment = Attachment { interface: name, index, method, behind: Vec::new() };
        let attached = Attached { attachment: attachment.clone(), hold, contest: Contest::default() };
        if let Some(former) = self.attached.insert(interface.index, attached) {
            grace::wait();
            if let Err(error) = former.end() {
                tracing::warn!(
                    interface = interface.name,
                    error = causes(&error),
                    "the former attachment stays"
                );
            }
        }
        attachment
    }

    pub(super) fn attach_by(&mut self, interface: &Interface, method: Method) -> Result<Hold, Error> {
        let program = program(interface.layer, method);
        self.provide(program)?;
        let link: FdLink = match method {
            Method::Xdp | Method::XdpGeneric => {
                let mode = if method == Method::Xdp { XdpMode::Driver } else { XdpMode::Skb };
                let xdp = object::xdp(&mut self.ebpf)?;
                let attached = xdp.attach_to_if_index(interface.index, mode).and_then(|id| xdp.take_link(id));
                // A link of the older kind, which ends with the agent, is of no use: it ends here.
                attached
                    .map_err(Error::program(program.name(), "cannot be attached"))?
                    .try_into()
                    .map_err(link::error(program.name()))?
            }
            Method::Tcx => {
                let tc = object::classifier(&mut self.ebpf, program)?;
                let first = TcAttachOptions::TcxOrder(LinkOrder::first());
                let attached = tc
                    .attach_with_options(&interface.name, TcAttachType::Ingress, first)
                    .and_then(|id| tc.take_link(id));
                attached
                    .map_err(Error::program(program.name(), "cannot be attached"))?
                    .try_into()
                    .map_err(link::error(program.name()))?
            }
            Method::Clsact => {
                let tc = object::classifier(&mut self.ebpf, program)?;
                return clsact::attach(tc, program, interface).map(Hold::Filter);
            }
        };
        let pin = self.directory().join(link::link_name(program, interface.index));
        let link = link::pinned(link, &pin)?;
        Ok(Hold::Link { pin, link })
    }
}

impl Attached {
    /// Whether our program still judges the packets of this device.
    fn is_present(&self, interface: &Interface) -> Result<bool, Error> {
        match self.place()? {
            Some(place) => Ok(Line::of(interface)?.before(place).is_some()),
            None => {
                let program = self.program()?;
                Ok(interface.xdp.is_some_and(|xdp| xdp.id == program))
            }
        }
    }

    /// Where ours stands in the device's line; XDP comes before all of it.
    pub(super) fn place(&self) -> Result<Option<Place>, Error> {
        match self.hold {
            Hold::Filter(filter) => Ok(Some(Place::Clsact(filter))),
            Hold::Link { .. } if self.attachment.method.is_xdp() => Ok(None),
            Hold::Link { .. } => self.program().map(Place::Tcx).map(Some),
        }
    }

    /// The id of the program.
    fn program(&self) -> Result<u32, Error> {
        match &self.hold {
            Hold::Filter(filter) => Ok(filter.program),
            Hold::Link { pin, link } => link.info().map(|info| info.program_id()).map_err(link::error(pin)),
        }
    }

    /// The same with its pin back in place, if there still is a directory for it.
    fn pinned_again(self) -> Result<Option<Self>, Error> {
        let hold = match self.hold {
            Hold::Link { pin, link } if !pin.exists() && pin.parent().is_some_and(Path::is_dir) => {
                tracing::warn!(pin = %pin.display(), "somebody has removed the pin of a link; it is pinned again");
                Hold::Link { link: link::pinned(link, &pin)?, pin }
            }
            hold @ (Hold::Link { .. } | Hold::Filter(_)) => hold,
        };
        Ok(Some(Self { hold, ..self }))
    }

    /// Removes what is left of an attachment that is gone.
    fn forgotten(self) -> Result<(), Error> {
        match self.hold {
            Hold::Link { pin, link: _ } => pins::remove(&pin),
            Hold::Filter(_) => Ok(()),
        }
    }

    /// Detaches, once this is dropped too.
    fn end(&self) -> Result<(), Error> {
        match &self.hold {
            // It ends when the last descriptor is closed, too.
            Hold::Link { pin, .. } => pins::remove(pin),
            Hold::Filter(filter) => clsact::detach(filter, self.attachment.index),
        }
    }
}

/// The program that goes with a kind of device and a way of attaching.
pub(super) fn program(layer: Layer, method: Method) -> Program {
    match (method, layer) {
        (Method::Xdp | Method::XdpGeneric, _) => Program::Xdp,
        (Method::Tcx | Method::Clsact, Layer::Ethernet) => Program::Tc,
        (Method::Tcx | Method::Clsact, Layer::Ip) => Program::TcLayer3,
    }
}

/// An error with all that led to it, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
