//! The line in which programs judge what comes in by a device: TCX programs first, then the filters at clsact. Each may
//! let a packet pass or drop it without asking those behind it.

use std::io;

use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType};
use rustix::io::Errno;

use super::clsact::{self, Entry, Filter};
use super::object::Program;
use super::{Error, Method, TcHook, tcx_line};
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

/// The TCX programs on a device's way in, the first to run first. To know their names takes `CAP_SYS_ADMIN`.
fn tcx(interface: &Interface) -> Result<Option<Vec<TcxProgram>>, Error> {
    match SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress) {
        Ok((_revision, programs)) => Ok(Some(programs.iter().map(TcxProgram::from).collect())),
        Err(ProgramError::SyscallError(error))
            if error.io_error.kind() == io::ErrorKind::PermissionDenied =>
        {
            let ids = tcx_line::ids(interface.index).map_err(Error::Interfaces)?;
            Ok(Some(ids.into_iter().map(|id| TcxProgram { id, name: "no name known".to_owned() }).collect()))
        }
        Err(ProgramError::SyscallError(error)) if is_unknown(&error.io_error) => Ok(None),
        Err(error) => Err(Error::program(Program::Tc.name(), "cannot be looked for")(error)),
    }
}

/// Whether it is the answer of a kernel that does not know what it was asked for.
fn is_unknown(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

impl From<&ProgramInfo> for TcxProgram {
    fn from(info: &ProgramInfo) -> Self {
        Self { id: info.id(), name: info.name_as_str().unwrap_or("no name").to_owned() }
    }
}

fn described(program: &TcxProgram) -> String {
    format!("TCX program {} ({})", program.id, program.name)
}
