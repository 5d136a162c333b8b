//! What can go wrong with the kernel's side.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;

/// An error of the datapath; its text names the object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pin directory cannot be used.
    #[error("{}: {why}", path.display())]
    PinDirectory {
        /// Which directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// Another agent uses the pin directory.
    #[error("{}: another agent is running with this directory", path.display())]
    AlreadyRunning {
        /// Which directory.
        path: PathBuf,
    },
    /// No agent has loaded anything here since the node booted.
    #[error("{}: no kernel maps are pinned here; has the agent been started?", path.display())]
    NotLoaded {
        /// Which directory.
        path: PathBuf,
    },
    /// A file operation on the pin directory failed.
    #[error("{}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not take the object with programs and maps.
    #[error("the kernel does not take the programs and maps")]
    Load {
        /// Why.
        source: Box<EbpfError>,
    },
    /// The kernel did not take one program, or did not attach it.
    #[error("program {program}: {what}")]
    Program {
        /// Which program.
        program: &'static str,
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<ProgramError>,
    },
    /// A link could not be read or pinned.
    #[error("link {}", path.display())]
    Link {
        /// Which link.
        path: PathBuf,
        /// Why.
        source: Box<LinkError>,
    },
    /// Something could not be pinned.
    #[error("pinning {}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Box<PinError>,
    },
    /// A map operation failed.
    #[error("map {map}")]
    Map {
        /// Which map.
        map: &'static str,
        /// Why.
        source: Box<MapError>,
    },
    /// A map has no room for another entry.
    #[error("map {map} is full")]
    TableFull {
        /// Which map.
        map: &'static str,
    },
    /// A map of another version cannot be copied.
    #[error("map {map} of the other version is too unlike ours")]
    Unlike {
        /// Which map.
        map: &'static str,
    },
    /// The socket of a flow closed before the flow was in the tables.
    #[error("the socket has closed")]
    SocketClosed,
    /// The text about a session is too long for its record.
    #[error("{length} bytes about a session; its record holds {}", agent_ebpf::DETAILS_CAPACITY)]
    DetailsTooLong {
        /// How long the text is.
        length: usize,
    },
    /// No way of attaching worked on a device.
    #[error("{interface}: not attached: {tried}")]
    NotAttached {
        /// Which device.
        interface: String,
        /// What was tried and why each failed.
        tried: String,
    },
    /// Reading rtnetlink failed.
    #[error("reading the network devices")]
    Interfaces(#[source] io::Error),
    /// This network namespace has no name for the kernel programs.
    #[error("asking for the network namespace's cookie (SO_NETNS_COOKIE)")]
    Network(#[source] io::Error),
    /// Kernel events cannot be awaited.
    #[error("waiting for kernel events")]
    Events(#[source] io::Error),
}

impl Error {
    pub(super) fn map(map: &'static str) -> impl FnOnce(MapError) -> Self + use<> {
        move |source| Self::Map { map, source: Box::new(source) }
    }

    pub(super) fn program(program: &'static str, what: &str) -> impl FnOnce(ProgramError) -> Self + use<> {
        let what = what.to_owned();
        move |source| Self::Program { program, what, source: Box::new(source) }
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
