//! Starting over what an earlier agent left: its maps where they fit, its attachments always.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use agent_ebpf::ABI_VERSION;
use aya::Ebpf;
use aya::maps::MapInfo;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, ProgramError, ProgramInfo, loaded_programs};

use super::attachment::{self, Hold, causes};
use super::endpoints::Endpoints;
use super::link::{self, parse_link_name, put_in_place};
use super::object::{self, MAPS, Program, TAGS};
use super::pins::{self, Pins};
use super::{Datapath, Error, Method, Settings, Tables, clsact, migration};
use crate::interfaces::{self, Interface};

/// What an agent found when it started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Takeover {
    /// Nothing.
    Fresh,
    /// Maps of its own version and size, which it goes on with.
    SameVersion {
        /// Sessions in them.
        sessions: usize,
    },
    /// Maps of a neighbouring version or of another size, whose contents it copied.
    Migrated {
        /// Their version.
        from: u32,
        /// Sessions copied.
        sessions: usize,
    },
    /// Maps that it could not use. Connections of their sessions are unmanaged now.
    StartedAfresh {
        /// Why.
        why: String,
    },
}

/// What lies in a version's directory.
enum Found {
    Nothing,
    /// Maps just as this agent makes them.
    Ours,
    /// Maps of another size, or not all of them: perhaps they can be copied.
    Other,
}

pub(super) fn open(pins: Pins, settings: &Settings) -> Result<(Datapath, Takeover), Error> {
    let earlier = earlier_programs(&pins)?;
    let started = match inspect(&pins.current(), settings) {
        Found::Nothing => anew(&pins, settings, neighbour(&pins))?,
        Found::Other => anew(&pins, settings, Some(ABI_VERSION))?,
        Found::Ours => in_place(&pins, settings).or_else(|error| {
            tracing::warn!(error = causes(&error), "the maps that are there cannot be used as they are");
            anew(&pins, settings, Some(ABI_VERSION))
        })?,
    };
    let Started { ebpf, close, endpoints, takeover } = started;
    let pinned = Program::FIRST.into();
    let mut datapath =
        Datapath { pins, ebpf, pinned, attached: BTreeMap::new(), endpoints, steers: false, _close: close };
    datapath.adopt(&earlier)?;
    Ok((datapath, takeover))
}

struct Started {
    ebpf: Ebpf,
    close: FdLink,
    endpoints: Endpoints,
    takeover: Takeover,
}

/// Goes on with the maps that are there.
fn in_place(pins: &Pins, settings: &Settings) -> Result<Started, Error> {
    let directory = pins.current();
    let mut ebpf = object::load(&directory, settings)?;
    let close = pin_all(&mut ebpf, &directory)?;
    let endpoints = Endpoints::hold(&mut ebpf, &directory, settings.sessions_cgroup.as_deref());
    let tables = Tables::open_directory(&directory)?;
    // The agent before may have been of another release, and have kept up only what it knew of.
    tables.forget_home()?;
    let sessions = tables.sessions()?.len();
    Ok(Started { ebpf, close, endpoints, takeover: Takeover::SameVersion { sessions } })
}

/// Makes new maps, fills them from those of version `from` where that can be done, and then moves them into place as a
/// whole, so that an interrupted start leaves nothing half-made.
fn anew(pins: &Pins, settings: &Settings, from: Option<u32>) -> Result<Started, Error> {
    let staging = pins.staging()?;
    if let Some(version) = from {
        keep_tags(&pins.version(version), &staging)?;
    }
    let mut ebpf = object::load(&staging, settings)?;
    let close = pin_all(&mut ebpf, &staging)?;
    // As the tracepoint, these run before anything is copied: what they see meanwhile is in the new maps.
    let endpoints = Endpoints::hold(&mut ebpf, &staging, settings.sessions_cgroup.as_deref());
    let takeover = match from {
        Some(version) => migrate(pins, version, &staging),
        None if pins.others()?.is_empty() => Takeover::Fresh,
        None => {
            Takeover::StartedAfresh { why: "what lies there is of a version too far from this one".into() }
        }
    };
    pins.put_in_force(&staging)?;
    Ok(Started { ebpf, close, endpoints, takeover })
}

/// What sockets remember stays with them: new maps go on with the old one, where it is just what this agent would make.
fn keep_tags(from: &Path, staging: &Path) -> Result<(), Error> {
    let old = from.join(TAGS);
    let shape = MAPS.iter().find(|map| map.name == TAGS);
    let alike = |info: MapInfo| shape.is_some_and(|shape| shape.matches(&info, 0));
    if !MapInfo::from_pin(&old).is_ok_and(alike) {
        return Ok(());
    }
    let new = staging.join(TAGS);
    fs::hard_link(&old, &new).map_err(Error::file(&new))
}

fn migrate(pins: &Pins, from: u32, staging: &Path) -> Takeover {
    match migration::copy(&pins.version(from), staging) {
        Ok(sessions) => Takeover::Migrated { from, sessions },
        Err(error) => Takeover::StartedAfresh { why: causes(&error) },
    }
}

/// The version next to ours that an earlier agent has left, the newer first.
fn neighbour(pins: &Pins) -> Option<u32> {
    [ABI_VERSION + 1, ABI_VERSION - 1].into_iter().find(|version| pins.version(*version).is_dir())
}

fn inspect(directory: &Path, settings: &Settings) -> Found {
    if directory.symlink_metadata().is_err() {
        return Found::Nothing;
    }
    for map in &MAPS {
        match MapInfo::from_pin(directory.join(map.name)) {
            Ok(info) if map.matches(&info, settings.max_sessions) => {}
            Ok(_) | Err(_) => return Found::Other,
        }
    }
    Found::Ours
}

/// Pins the programs that an agent begins with, and attaches the tracepoint; an earlier agent's is let go after that.
fn pin_all(ebpf: &mut Ebpf, directory: &Path) -> Result<FdLink, Error> {
    for program in Program::FIRST {
        pin(ebpf, program, directory)?;
    }
    let attach = |program: &mut BtfTracePoint| program.attach().and_then(|id| program.take_link(id));
    let link = attach(object::tracepoint(ebpf)?)
        .map_err(Error::program(Program::Close.name(), "cannot be attached"))?;
    let path = directory.join(format!("link_{}", Program::Close.name()));
    put_in_place(&path, |pin| FdLink::from(link).pin(pin)).map(Into::into)
}

/// Pins a program, so that its filters are found by whoever comes after this agent.
fn pin(ebpf: &mut Ebpf, which: Program, directory: &Path) -> Result<(), Error> {
    let program = ebpf.program_mut(which.name()).ok_or(ProgramError::NotLoaded);
    let program = program.map_err(Error::program(which.name(), "not in the object"))?;
    let path = directory.join(program_name(which));
    keep_former(&path)?;
    put_in_place(&path, |pin| program.pin(pin))
}

/// The ids of all programs that earlier agents may have attached: those that they have pinned, and, where this process
/// may look at all that are loaded (`CAP_SYS_ADMIN`), those that use maps pinned here.
pub(super) fn earlier_programs(pins: &Pins) -> Result<BTreeSet<u32>, Error> {
    let (mut maps, mut programs) = (BTreeSet::new(), BTreeSet::new());
    for directory in pins.others()?.into_iter().chain([pins.current()]) {
        let pinned = MAPS.iter().filter_map(|map| MapInfo::from_pin(directory.join(map.name)).ok());
        maps.extend(pinned.map(|info| info.id()));
        let paths = Program::ALL.map(|program| directory.join(program_name(program)));
        let pinned = paths.iter().flat_map(|path| [path.clone(), former(path)]);
        programs.extend(pinned.filter_map(|path| ProgramInfo::from_pin(path).ok()).map(|info| info.id()));
    }
    programs.extend(programs_over(&maps));
    Ok(programs)
}

/// The file name of a program.
fn program_name(program: Program) -> String {
    format!("prog_{}", program.name())
}

/// Where a program stays pinned that was replaced, until its filters have been taken over: an agent that is interrupted
/// in between must leave them to be found.
fn former(program: &Path) -> PathBuf {
    // bpffs takes no names with dots.
    let mut name = program.file_name().unwrap_or_default().to_owned();
    name.push("_former");
    program.with_file_name(name)
}

/// Keeps the program that is pinned at `path` by another name, unless an older one is kept already.
fn keep_former(path: &Path) -> Result<(), Error> {
    match fs::hard_link(path, former(path)) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
            Err(Error::file(path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Datapath {
    /// Loads and pins a program, if that has not been done: one that is not pinned is not used.
    pub(super) fn provide(&mut self, program: Program) -> Result<(), Error> {
        if self.pinned.contains(&program) {
            return Ok(());
        }
        if !object::is_loaded(&self.ebpf, program) {
            object::load_program(&mut self.ebpf, program)?;
        }
        let directory = self.directory();
        pin(&mut self.ebpf, program, &directory)?;
        self.pinned.insert(program);
        Ok(())
    }

    /// Takes over what is attached, wherever an earlier agent has left it, and then removes what it has left.
    fn adopt(&mut self, earlier: &BTreeSet<u32>) -> Result<(), Error> {
        let interfaces = interfaces::list().map_err(Error::Interfaces)?;
        let others = self.pins.others()?;
        // Ours first: links of the others move there.
        for directory in [&self.directory()].into_iter().chain(&others) {
            self.adopt_links(directory, &interfaces)?;
        }
        self.adopt_filters(earlier, &interfaces)?;
        for program in Program::ALL {
            let pin = self.directory().join(program_name(program));
            pins::remove(&former(&pin))?;
            // An earlier agent's, which nothing runs any more.
            if !self.pinned.contains(&program) {
                pins::remove(&pin)?;
            }
        }
        for directory in &others {
            self.carry_counters(directory);
            pins::remove(directory)?;
        }
        Ok(())
    }

    /// Whatever cannot be read of what was counted before is no reason not to start.
    fn carry_counters(&self, from: &Path) {
        if let Err(error) = migration::carry_counters(from, &self.directory()) {
            let (from, error) = (from.display(), causes(&error));
            tracing::warn!(%from, error, "what was counted there is forgotten");
        }
    }

    fn adopt_links(&mut self, directory: &Path, interfaces: &[Interface]) -> Result<(), Error> {
        for entry in fs::read_dir(directory).map_err(Error::file(directory))?.flatten() {
            let name = entry.file_name();
            let Some((program, index)) = name.to_str().and_then(parse_link_name) else { continue };
            let path = entry.path();
            let interface = interfaces.iter().find(|interface| interface.index == index);
            let free = interface.filter(|interface| !self.attached.contains_key(&interface.index));
            if free.is_some() {
                // Without it the earlier agent's stays in force, and this one does not start.
                self.provide(program)?;
            }
            let adopted = free.map(|interface| self.adopt_link(program, interface, &path));
            match adopted {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let (link, error) = (path.display(), causes(&error));
                    tracing::warn!(%link, error, "an earlier agent's link is of no use any more");
                    pins::remove(&path)?;
                }
                None => pins::remove(&path)?,
            }
        }
        Ok(())
    }

    fn adopt_link(&mut self, program: Program, interface: &Interface, path: &Path) -> Result<(), Error> {
        let link = link::replace(&mut self.ebpf, program, path)?;
        let pin = self.directory().join(path.file_name().unwrap_or_default());
        if pin != path {
            pins::rename(path, &pin)?;
        }
        let method = match program {
            Program::Xdp if interface.xdp.is_some_and(|xdp| xdp.generic) => Method::XdpGeneric,
            Program::Xdp => Method::Xdp,
            Program::Tc | Program::TcLayer3 | Program::Close => Method::Tcx,
        };
        self.settle(interface, method, Hold::Link { pin, link });
        Ok(())
    }

    fn adopt_filters(&mut self, programs: &BTreeSet<u32>, interfaces: &[Interface]) -> Result<(), Error> {
        if programs.is_empty() {
            return Ok(());
        }
        for interface in interfaces {
            let adopted = self.adopt_filters_of(interface, programs);
            unless_gone(interface, adopted)?;
        }
        Ok(())
    }

    fn adopt_filters_of(&mut self, interface: &Interface, programs: &BTreeSet<u32>) -> Result<(), Error> {
        let filters = clsact::entries(interface.index)?.into_iter().filter_map(|entry| entry.filter());
        for filter in filters.filter(|filter| programs.contains(&filter.program)) {
            if self.attached.contains_key(&interface.index) {
                clsact::detach(&filter, interface.index)?;
                continue;
            }
            let program = attachment::program(interface.layer, Method::Clsact);
            self.provide(program)?;
            let tc = object::classifier(&mut self.ebpf, program)?;
            let filter = clsact::replace(tc, program, &interface.name, &filter)?;
            self.settle(interface, Method::Clsact, Hold::Filter(filter));
        }
        Ok(())
    }
}

/// Lets a failure pass that concerns a device which is no longer there: devices come and go, also between two looks.
fn unless_gone(interface: &Interface, done: Result<(), Error>) -> Result<(), Error> {
    let Err(error) = done else { return Ok(()) };
    let all = interfaces::list().map_err(Error::Interfaces)?;
    if all.iter().any(|one| one.index == interface.index) {
        return Err(error);
    }
    tracing::info!(interface = interface.name, error = causes(&error), "gone before it was taken over");
    Ok(())
}

/// The ids of all loaded classifiers that use one of these maps.
fn programs_over(maps: &BTreeSet<u32>) -> BTreeSet<u32> {
    let ours = |info: &ProgramInfo| {
        let used = info.map_ids().ok().flatten().unwrap_or_default();
        used.iter().any(|map| maps.contains(map))
    };
    if maps.is_empty() {
        return BTreeSet::new();
    }
    loaded_programs().filter_map(Result::ok).filter(ours).map(|info| info.id()).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use agent_ebpf::Layer;

    use super::*;

    fn failed() -> Result<(), Error> {
        Err(Error::Interfaces(io::ErrorKind::NotFound.into()))
    }

    #[test]
    fn a_device_that_is_gone_keeps_no_agent_from_starting() {
        let gone = Interface {
            name: "gone0".into(),
            index: i32::MAX.cast_unsigned(),
            kind: None,
            master: None,
            loopback: false,
            layer: Layer::Ethernet,
            addresses: Vec::new(),
            xdp: None,
        };
        assert!(unless_gone(&gone, failed()).is_ok());
    }

    #[test]
    fn an_error_of_a_device_that_is_there_stays_one() {
        let here = interfaces::list().unwrap().into_iter().find(|interface| interface.loopback).unwrap();
        assert!(unless_gone(&here, failed()).is_err());
        assert!(unless_gone(&here, Ok(())).is_ok());
    }
}
