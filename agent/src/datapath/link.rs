//! The kernel's links between programs and devices: what their pins are called, pinning them, replacing their program.

use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::SchedClassifierLink;
use aya::programs::xdp::XdpLink;

use super::object::{self, Program};
use super::{Error, pins};

/// The file name of a device's link.
pub(super) fn link_name(program: Program, index: u32) -> String {
    format!("link_{}_{index}", program.name())
}

/// The program and device of a link's file name; the tracepoint's link has no device.
pub(super) fn parse_link_name(name: &str) -> Option<(Program, u32)> {
    let (program, index) = name.strip_prefix("link_")?.rsplit_once('_')?;
    Some((Program::by_name(program)?, index.parse().ok()?))
}

/// Pins a link, so that it outlives the agent, in the place of what may be pinned there.
pub(super) fn pinned(link: FdLink, path: &Path) -> Result<FdLink, Error> {
    put_in_place(path, |pin| link.pin(pin)).map(Into::into)
}

/// Pins something where something else may be pinned, which goes only once this is there.
pub(super) fn put_in_place<T>(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<T, PinError>,
) -> Result<T, Error> {
    let staged = path.with_file_name("new");
    pins::remove(&staged)?;
    let pinned = pin(&staged).map_err(|source| Error::Pin { path: path.into(), source: Box::new(source) })?;
    pins::rename(&staged, path)?;
    Ok(pinned)
}

/// Puts a program of `ebpf` behind a pinned link, whatever it ran before: between two packets, the kernel promises.
pub(super) fn replace(ebpf: &mut Ebpf, program: Program, path: &Path) -> Result<FdLink, Error> {
    let failed = || Error::program(program.name(), "cannot take the earlier one's place");
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(error(path))?);
    match program {
        Program::Xdp => {
            let xdp = object::xdp(ebpf)?;
            let id = xdp.attach_to_link(XdpLink::try_from(link).map_err(error(path))?).map_err(failed())?;
            xdp.take_link(id).map_err(failed())?.try_into().map_err(error(path))
        }
        Program::Tc | Program::TcLayer3 => {
            let tc = object::classifier(ebpf, program)?;
            let link = SchedClassifierLink::try_from(link).map_err(error(path))?;
            let id = tc.attach_to_link(link).map_err(failed())?;
            tc.take_link(id).map_err(failed())?.try_into().map_err(error(path))
        }
        Program::Close => Err(failed()(ProgramError::NotAttached)),
    }
}

/// An error of the link that is, or is to be, pinned at `path`.
pub(super) fn error(path: impl Into<PathBuf>) -> impl FnOnce(LinkError) -> Error {
    let path = path.into();
    move |source| Error::Link { path, source: Box::new(source) }
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
