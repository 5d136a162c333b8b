//! The programs that hang on the sessions' cgroups, and hanging them there.

use std::fs::File;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, Program as LoadedProgram,
    ProgramError, SockOps,
};

use super::Error;
use super::link::put_in_place;

/// What a program hangs on.
#[derive(Clone, Copy)]
enum Kind {
    /// A socket that is made, bound or closed.
    Socket,
    /// An address that a socket is to be bound to, or to connect or send to.
    Address,
    /// What TCP does.
    Tcp,
    /// A packet that has come to a socket.
    Packet,
}

/// Programs that run for sockets of a cgroup and of those below it.
const HOOKS: [(&str, Kind); 13] = [
    ("cotter_create", Kind::Socket),
    ("cotter_bind4", Kind::Address),
    ("cotter_bind6", Kind::Address),
    ("cotter_bound4", Kind::Socket),
    ("cotter_bound6", Kind::Socket),
    ("cotter_listen", Kind::Tcp),
    ("cotter_depart", Kind::Tcp),
    ("cotter_connect4", Kind::Address),
    ("cotter_connect6", Kind::Address),
    ("cotter_send4", Kind::Address),
    ("cotter_send6", Kind::Address),
    ("cotter_release", Kind::Socket),
    ("cotter_receive", Kind::Packet),
];

/// Loads all of them that are not loaded yet.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), Error> {
    HOOKS.into_iter().try_for_each(|(name, kind)| {
        let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded);
        let loaded =
            program.and_then(|program| if program.fd().is_ok() { Ok(()) } else { load_one(program, kind) });
        loaded.map_err(Error::program(name, "the kernel does not take it"))
    })
}

fn load_one(program: &mut LoadedProgram, kind: Kind) -> Result<(), ProgramError> {
    match kind {
        Kind::Socket => <&mut CgroupSock>::try_from(program)?.load(),
        Kind::Address => <&mut CgroupSockAddr>::try_from(program)?.load(),
        Kind::Tcp => <&mut SockOps>::try_from(program)?.load(),
        Kind::Packet => <&mut CgroupSkb>::try_from(program)?.load(),
    }
}

/// Attaches all of them to a cgroup, by its directory, and pins that in `directory`. What was pinned there, of an earlier
/// agent or for another cgroup, goes when this is in place.
pub(super) fn attach(ebpf: &mut Ebpf, cgroup: &Path, directory: &Path) -> Result<(), Error> {
    let cgroup = File::open(cgroup).map_err(Error::file(cgroup))?;
    HOOKS.into_iter().try_for_each(|(name, kind)| {
        let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded);
        let link = program.and_then(|program| attach_one(program, kind, &cgroup));
        let link = link.map_err(Error::program(name, "cannot be attached"))?;
        put_in_place(&pin(directory, name), |pin| link.pin(pin)).map(drop)
    })
}

/// A pin that [`attach`] has made and that is gone, with which its program went.
pub(super) fn missing(directory: &Path) -> Option<PathBuf> {
    HOOKS.iter().map(|(name, _)| pin(directory, name)).find(|pin| !pin.is_file())
}

/// Where a program's link is pinned.
fn pin(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("link_{name}"))
}

/// Together with programs of others (which the loader's word for it does not say): the kernel runs all, and each may
/// refuse.
fn attach_one(program: &mut LoadedProgram, kind: Kind, cgroup: &File) -> Result<FdLink, ProgramError> {
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    // The kernel has links since 5.7; the loader knows another way too.
    macro_rules! link {
        ($program:ty $(, $direction:expr)?) => {{
            let program = <&mut $program>::try_from(program)?;
            let id = program.attach(cgroup, $($direction,)? MODE)?;
            FdLink::try_from(program.take_link(id)?).map_err(|_| ProgramError::NotAttached)
        }};
    }
    match kind {
        Kind::Socket => link!(CgroupSock),
        Kind::Address => link!(CgroupSockAddr),
        Kind::Tcp => link!(SockOps),
        Kind::Packet => link!(CgroupSkb, CgroupSkbAttachType::Ingress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::object;

    #[test]
    fn the_kernel_takes_all_of_them() {
        let mut ebpf = object::load_alone(object::Program::Close).unwrap();
        load(&mut ebpf).unwrap_or_else(|error| panic!("{}", crate::datapath::causes(&error)));
    }
}
