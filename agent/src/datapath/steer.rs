//! The program that leads the connections of trusted relays to the relay, and hanging it on the network namespace.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use agent_ebpf::relay_slot;
use aya::Ebpf;
use aya::maps::{Map, MapData, SockMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, SkLookup};

use super::link::put_in_place;
use super::{Error, pins};

const PROGRAM: &str = "cotter_steer";
/// The network namespace that a process is in.
const NETWORK: &str = "/proc/self/ns/net";

/// Hangs it on the network namespace that this is called in, and pins that in `directory`: it leads them there, or nowhere,
/// whether the agent lives or not.
pub(super) fn attach(ebpf: &mut Ebpf, directory: &Path) -> Result<(), Error> {
    let network = File::open(NETWORK).map_err(Error::file(Path::new(NETWORK)))?;
    let mut attached = || -> Result<FdLink, ProgramError> {
        let program = ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?;
        let program = <&mut SkLookup>::try_from(program)?;
        if program.fd().is_err() {
            program.load()?;
        }
        let id = program.attach(&network)?;
        Ok(program.take_link(id)?.into())
    };
    let link = attached().map_err(Error::program(PROGRAM, "cannot be attached"))?;
    put_in_place(&pin(directory), |pin| link.pin(pin)).map(drop)
}

/// Takes it away, if it is there.
pub(super) fn detach(directory: &Path) -> Result<(), Error> {
    pins::remove(&pin(directory))
}

/// Whether it is there.
pub(super) fn is_attached(directory: &Path) -> bool {
    pin(directory).is_file()
}

/// Has it lead those of the listener's family there, until that is closed.
pub(super) fn lead_to(listener: &impl AsRawFd, local: IpAddr, directory: &Path) -> Result<(), Error> {
    let error = || Error::map("RELAY");
    let map = MapData::from_pin(directory.join("RELAY")).and_then(Map::from_map_data).map_err(error())?;
    let mut relay = SockMap::try_from(map).map_err(error())?;
    relay.set(relay_slot(local.into()), listener, 0).map_err(error())
}

fn pin(directory: &Path) -> PathBuf {
    directory.join(format!("link_{PROGRAM}"))
}
