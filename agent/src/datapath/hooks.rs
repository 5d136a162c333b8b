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

/// Programs that run for sockets of a cgroup and of those below it.
const HOOKS: [&str; 12] = [
    "cotter_create",
    "cotter_bind4",
    "cotter_bind6",
    "cotter_bound4",
    "cotter_bound6",
    "cotter_listen",
    "cotter_connect4",
    "cotter_connect6",
    "cotter_send4",
    "cotter_send6",
    "cotter_release",
    "cotter_receive",
];

/// Loads all of them.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), Error> {
    HOOKS.into_iter().try_for_each(|name| {
        let loaded =
            ebpf.program_mut(name).ok_or(ProgramError::NotLoaded).and_then(|program| match program {
                LoadedProgram::CgroupSock(program) => program.load(),
                LoadedProgram::CgroupSockAddr(program) => program.load(),
                LoadedProgram::CgroupSkb(program) => program.load(),
                LoadedProgram::SockOps(program) => program.load(),
                _ => Err(ProgramError::UnexpectedProgramType),
            });
        loaded.map_err(Error::program(name, "the kernel does not take it"))
    })
}

/// Attaches all of them to a cgroup, by its directory, and pins that in `directory`. What was pinned there, of an earlier
/// agent or for another cgroup, goes when this is in place.
pub(super) fn attach(ebpf: &mut Ebpf, cgroup: &Path, directory: &Path) -> Result<(), Error> {
    let cgroup = File::open(cgroup).map_err(Error::file(cgroup))?;
    HOOKS.into_iter().try_for_each(|name| {
        let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded);
        let link = program.and_then(|program| attach_one(program, &cgroup));
        let link = link.map_err(Error::program(name, "cannot be attached"))?;
        put_in_place(&pin(directory, name), |pin| link.pin(pin)).map(drop)
    })
}

/// Where a program's link is pinned.
fn pin(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("link_{name}"))
}

/// Together with programs of others: the kernel runs all, and each may refuse.
fn attach_one(program: &mut LoadedProgram, cgroup: &File) -> Result<FdLink, ProgramError> {
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    match program {
        LoadedProgram::CgroupSock(program) => attach_sock(program, cgroup, MODE),
        LoadedProgram::CgroupSockAddr(program) => attach_address(program, cgroup, MODE),
        LoadedProgram::CgroupSkb(program) => attach_packet(program, cgroup, MODE),
        LoadedProgram::SockOps(program) => attach_ops(program, cgroup, MODE),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

macro_rules! attach {
    ($($name:ident: $program:ty $(, $kind:expr)?;)+) => {
        $(
            fn $name(program: &mut $program, cgroup: &File, mode: CgroupAttachMode) -> Result<FdLink, ProgramError> {
                let id = program.attach(cgroup, $($kind,)? mode)?;
                // The kernel has links since 5.7; the loader knows another way too.
                FdLink::try_from(program.take_link(id)?).map_err(|_| ProgramError::NotAttached)
            }
        )+
    };
}

attach! {
    attach_sock: CgroupSock;
    attach_address: CgroupSockAddr;
    attach_packet: CgroupSkb, CgroupSkbAttachType::Ingress;
    attach_ops: SockOps;
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
