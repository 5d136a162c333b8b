//! What the kernel takes of ours, found by trying, without a trace.

use std::io;
use std::path::Path;

use agent_ebpf::ABI_VERSION;
use rustix::io::Errno;

use super::link::link_name;
use super::object::{self, Program};
use super::pins::version_directory;
use super::{Error, Method, hooks, tcx_line};
use crate::interfaces::Interface;

/// What a program hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProgramKind {
    /// XDP.
    Xdp,
    /// TC, by TCX or clsact.
    Tc,
    /// The tracepoint of closing sockets.
    Close,
    /// The sessions' cgroup.
    Endpoints,
}

/// Loads each kind of program, with maps of its own, and lets go of it.
pub(crate) fn try_programs() -> [(ProgramKind, Result<(), Error>); 4] {
    let kinds = [
        (ProgramKind::Xdp, Program::Xdp),
        (ProgramKind::Tc, Program::Tc),
        (ProgramKind::Close, Program::Close),
    ];
    let [xdp, tc, close] = kinds.map(|(kind, program)| (kind, object::load_alone(program).map(drop)));
    let endpoints = object::load_alone(Program::Close).and_then(|mut ebpf| hooks::load(&mut ebpf));
    [xdp, tc, close, (ProgramKind::Endpoints, endpoints)]
}

/// Whether the kernel has TCX (Linux 6.6).
pub(crate) fn has_tcx() -> io::Result<bool> {
    /// The first device of every network namespace is its loopback device.
    const LOOPBACK: u32 = 1;
    match tcx_line::ids(LOOPBACK) {
        Ok(_) => Ok(true),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How a device's packets are judged by what an agent has left pinned; filters at clsact are not found.
pub(crate) fn left_attached(pin_dir: &Path, interface: &Interface) -> Option<Method> {
    let directory = version_directory(pin_dir, ABI_VERSION);
    let is_pinned = |program| directory.join(link_name(program, interface.index)).exists();
    match interface.xdp {
        Some(xdp) if is_pinned(Program::Xdp) => {
            Some(if xdp.generic { Method::XdpGeneric } else { Method::Xdp })
        }
        _not_ours => (is_pinned(Program::Tc) || is_pinned(Program::TcLayer3)).then_some(Method::Tcx),
    }
}
