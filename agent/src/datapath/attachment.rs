//! Where the programs judge packets: one way of attaching for each device, chosen by trying.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_ebpf::Layer;
use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, XdpMode};

use super::clsact::{self, Filter};
use super::object::{self, Program};
use super::{Datapath, Error, pins};
use crate::interfaces::{self, Interface};

/// How programs are to be attached, as the configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// XDP in the driver where nobody else has it and the driver can, else TC.
    #[default]
    Auto,
    /// XDP in the driver; TC where somebody else has XDP.
    Xdp,
    /// XDP in the stack; TC where somebody else has XDP.
    XdpGeneric,
    /// TC.
    Tc,
}

/// Which of the kernel's two ways of attaching TC programs is used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcHook {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX (Linux 6.6).
    Tcx,
    /// A filter at the clsact qdisc.
    Clsact,
}

/// A way of attaching.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Method {
    /// XDP in the driver.
    Xdp,
    /// XDP in the stack.
    XdpGeneric,
    /// TC, first of the TCX programs.
    Tcx,
    /// TC, first of the filters at clsact where those leave room.
    Clsact,
}

impl Method {
    /// The word that listings use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A device whose packets are judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The device's name.
    pub interface: String,
    /// The device's index.
    pub index: u32,
    /// The way that is in force.
    pub method: Method,
}

/// An attachment and what keeps it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    pub(super) hold: Hold,
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
        let ways = ways(interface, how, hook, self.attached.get(&interface.index));
        if let Some(present) = self.attached.get_mut(&interface.index)
            && ways.contains(&present.attachment.method)
        {
            present.attachment.interface.clone_from(&interface.name);
            return Ok(present.attachment.clone());
        }
        if ways.contains(&Method::Xdp) || ways.contains(&Method::XdpGeneric) {
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
        self.attached.remove(&index).map_or(Ok(()), Attached::end)
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

    fn end_other_xdp(&mut self, index: u32) -> Result<(), Error> {
        let method = self.attached.get(&index).map(|present| present.attachment.method);
        if !matches!(method, Some(Method::Xdp | Method::XdpGeneric)) {
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
        let attachment = Attachment { interface: interface.name.clone(), index: interface.index, method };
        let attached = Attached { attachment: attachment.clone(), hold };
        if let Some(former) = self.attached.insert(interface.index, attached)
            && let Err(error) = former.end()
        {
            tracing::warn!(interface = interface.name, error = causes(&error), "the former attachment stays");
        }
        attachment
    }

    fn attach_by(&mut self, interface: &Interface, method: Method) -> Result<Hold, Error> {
        let program = program(interface.layer, method);
        let link: FdLink = match method {
            Method::Xdp | Method::XdpGeneric => {
                let mode = if method == Method::Xdp { XdpMode::Driver } else { XdpMode::Skb };
                let xdp = object::xdp(&mut self.ebpf)?;
                let attached = xdp.attach_to_if_index(interface.index, mode).and_then(|id| xdp.take_link(id));
                // A link of the older kind, which ends with the agent, is of no use: it ends here.
                attached
                    .map_err(Error::program(program.name(), "cannot be attached"))?
                    .try_into()
                    .map_err(link_error(program))?
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
                    .map_err(link_error(program))?
            }
            Method::Clsact => {
                let tc = object::classifier(&mut self.ebpf, program)?;
                return clsact::attach(tc, program, interface).map(Hold::Filter);
            }
        };
        let pin = self.directory().join(link_name(program, interface.index));
        pins::remove(&pin)?;
        pinned(link, pin)
    }
}

impl Attached {
    /// Whether our program still judges the packets of this device.
    fn is_present(&self, interface: &Interface) -> Result<bool, Error> {
        match &self.hold {
            Hold::Filter(filter) => Ok(clsact::filters(interface.index)?.iter().any(|one| one == filter)),
            Hold::Link { pin, link } => {
                let info = link
                    .info()
                    .map_err(|source| Error::Link { path: pin.clone(), source: Box::new(source) })?;
                let id = info.program_id();
                match self.attachment.method {
                    Method::Xdp | Method::XdpGeneric => Ok(interface.xdp.is_some_and(|xdp| xdp.id == id)),
                    Method::Tcx | Method::Clsact => on_tcx(interface, id),
                }
            }
        }
    }

    /// The same with its pin back in place, if there still is a directory for it.
    fn pinned_again(self) -> Result<Option<Self>, Error> {
        let hold = match self.hold {
            Hold::Link { pin, link } if !pin.exists() && pin.parent().is_some_and(Path::is_dir) => {
                tracing::warn!(pin = %pin.display(), "somebody has removed the pin of a link; it is pinned again");
                pinned(link, pin)?
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

    /// Detaches.
    fn end(self) -> Result<(), Error> {
        match self.hold {
            Hold::Link { pin, link } => {
                pins::remove(&pin)?;
                drop(link);
                Ok(())
            }
            Hold::Filter(filter) => clsact::detach(&filter, &self.attachment.interface),
        }
    }
}

/// Pins a link, so that it outlives the agent.
fn pinned(link: FdLink, pin: PathBuf) -> Result<Hold, Error> {
    let pinned = link.pin(&pin);
    let pinned = pinned.map_err(|source| Error::Pin { path: pin.clone(), source: Box::new(source) })?;
    Ok(Hold::Link { pin, link: pinned.into() })
}

/// The ways to try, in this order.
fn ways(interface: &Interface, how: AttachMode, hook: TcHook, present: Option<&Attached>) -> Vec<Method> {
    let xdp = match how {
        AttachMode::Auto | AttachMode::Xdp => Some(Method::Xdp),
        AttachMode::XdpGeneric => Some(Method::XdpGeneric),
        AttachMode::Tc => None,
    };
    let tc: &[Method] = match hook {
        TcHook::Auto => &[Method::Tcx, Method::Clsact],
        TcHook::Tcx => &[Method::Tcx],
        TcHook::Clsact => &[Method::Clsact],
    };
    let ours = present.is_some_and(|one| matches!(one.attachment.method, Method::Xdp | Method::XdpGeneric));
    let foreign = interface.xdp.is_some() && !ours;
    match (xdp, how) {
        // The kernel would let us replace another's program on some paths, so do not even ask.
        (Some(_), _) if foreign || interface.layer == Layer::Ip => tc.to_vec(),
        (Some(xdp), AttachMode::Auto) => [&[xdp], tc].concat(),
        (Some(xdp), _) => vec![xdp],
        (None, _) => tc.to_vec(),
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

fn on_tcx(interface: &Interface, program: u32) -> Result<bool, Error> {
    let (_revision, programs) = SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress)
        .map_err(Error::program(Program::Tc.name(), "cannot be looked for"))?;
    Ok(programs.iter().any(|info| info.id() == program))
}

fn link_error(program: Program) -> impl FnOnce(LinkError) -> Error {
    move |source| Error::Link { path: program.name().into(), source: Box::new(source) }
}

/// The file name of a device's link.
fn link_name(program: Program, index: u32) -> String {
    format!("link_{}_{index}", program.name())
}

/// The program and device of a link's file name; the tracepoint's link has no device.
pub(super) fn parse_link_name(name: &str) -> Option<(Program, u32)> {
    let (program, index) = name.strip_prefix("link_")?.rsplit_once('_')?;
    Some((Program::by_name(program)?, index.parse().ok()?))
}

/// Puts this agent's program behind a pinned link of an earlier one: between two packets, the kernel promises.
pub(super) fn replace(ebpf: &mut Ebpf, program: Program, path: &Path) -> Result<FdLink, Error> {
    let link_error = || |source| Error::Link { path: path.into(), source: Box::new(source) };
    let failed = || Error::program(program.name(), "cannot take the earlier one's place");
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(link_error())?);
    match program {
        Program::Xdp => {
            let xdp = object::xdp(ebpf)?;
            let id = xdp.attach_to_link(XdpLink::try_from(link).map_err(link_error())?).map_err(failed())?;
            xdp.take_link(id).map_err(failed())?.try_into().map_err(link_error())
        }
        Program::Tc | Program::TcLayer3 => {
            let tc = object::classifier(ebpf, program)?;
            let id = tc
                .attach_to_link(SchedClassifierLink::try_from(link).map_err(link_error())?)
                .map_err(failed())?;
            tc.take_link(id).map_err(failed())?.try_into().map_err(link_error())
        }
        Program::Close => Err(failed()(ProgramError::NotAttached)),
    }
}

/// An error with all that led to it, on one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_file_name_tells_its_program_and_device() {
        for program in Program::ALL {
            assert_eq!(parse_link_name(&link_name(program, 17)), Some((program, 17)));
        }
        assert_eq!(parse_link_name("link_cotter_close"), None);
        assert_eq!(parse_link_name("link_cotter_xdp_"), None);
        assert_eq!(parse_link_name("prog_cotter_xdp_1"), None);
    }
}
