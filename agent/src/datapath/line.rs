//! The line in which programs judge what comes in by a device: TCX programs first, then the filters at clsact. Each may
//! let a packet pass or drop it without asking those behind it.

use std::path::Path;
use std::{fs, io};

use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType};
use rustix::io::Errno;

use super::clsact::{self, Entry, Filter};
use super::object::Program;
use super::{Error, Method, TcHook};
use crate::interfaces::Interface;

/// All programs and filters of a device's line.
#[derive(Debug)]
pub(super) struct Line {
    /// `None` where the kernel has no TCX.
    tcx: Option<Vec<TcxProgram>>,
    filters: Vec<Entry>,
}

/// A program at TCX.
#[derive(Debug)]
struct TcxProgram {
    id: u32,
    name: String,
}

/// Where ours stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// This program at TCX.
    Tcx(u32),
    /// This filter at clsact.
    Clsact(Filter),
}

impl Line {
    pub(super) fn of(interface: &Interface) -> Result<Self, Error> {
        Ok(Self { tcx: tcx(interface)?, filters: clsact::entries(interface.index)? })
    }

    /// What of others comes before ours, in words; `None` if ours is not in the line.
    pub(super) fn before(&self, ours: Place) -> Option<Vec<String>> {
        let tcx = self.tcx.as_deref().unwrap_or_default();
        match ours {
            Place::Tcx(program) => {
                let place = tcx.iter().position(|one| one.id == program)?;
                Some(tcx[..place].iter().map(described).collect())
            }
            Place::Clsact(filter) => {
                let filters = clsact::before(&filter, &self.filters)?;
                Some(tcx.iter().map(described).chain(filters.into_iter().map(ToString::to_string)).collect())
            }
        }
    }

    /// The way of attaching by which ours would come further in front than it does, if `hook` allows one.
    pub(super) fn way_ahead(&self, ours: Place, hook: TcHook) -> Option<Method> {
        match ours {
            Place::Tcx(_) => Some(Method::Tcx),
            Place::Clsact(_) if self.tcx.is_some() && hook != TcHook::Clsact => Some(Method::Tcx),
            Place::Clsact(filter) => clsact::can_advance(&filter, &self.filters).then_some(Method::Clsact),
        }
    }
}

/// The TCX programs on a device's way in, the first to run first. To know those of others takes `CAP_SYS_ADMIN`; without
/// it they are only our own.
fn tcx(interface: &Interface) -> Result<Option<Vec<TcxProgram>>, Error> {
    match SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress) {
        Ok((_revision, programs)) => Ok(Some(programs.iter().map(TcxProgram::from).collect())),
        Err(ProgramError::SyscallError(error))
            if error.io_error.kind() == io::ErrorKind::PermissionDenied =>
        {
            own(interface).map(Some)
        }
        Err(ProgramError::SyscallError(error)) if is_unknown(&error.io_error) => Ok(None),
        Err(error) => Err(Error::program(Program::Tc.name(), "cannot be looked for")(error)),
    }
}

/// Whether it is the answer of a kernel that does not know what it was asked for.
fn is_unknown(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

/// The programs whose links to this device are held by this process: the links tell by themselves, in their fdinfo.
fn own(interface: &Interface) -> Result<Vec<TcxProgram>, Error> {
    let directory = Path::new("/proc/self/fdinfo");
    let files = fs::read_dir(directory).map_err(Error::file(directory))?;
    // Descriptors of other threads come and go meanwhile.
    let infos = files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
    let ours = infos.filter(|info| {
        info.contains("link_type:\ttcx\n") && number(info, "ifindex") == Some(interface.index)
    });
    let programs = ours.filter_map(|info| number(&info, "prog_id"));
    Ok(programs.map(|id| TcxProgram { id, name: "ours".to_owned() }).collect())
}

/// A number of a file in fdinfo.
fn number(info: &str, name: &str) -> Option<u32> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

impl From<&ProgramInfo> for TcxProgram {
    fn from(info: &ProgramInfo) -> Self {
        Self { id: info.id(), name: info.name_as_str().unwrap_or("no name").to_owned() }
    }
}

fn described(program: &TcxProgram) -> String {
    format!("TCX program {} ({})", program.id, program.name)
}
