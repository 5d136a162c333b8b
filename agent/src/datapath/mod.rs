//! The agent's hands on the kernel: loads, pins and attaches the programs, takes over what an earlier agent left, and
//! gives typed access to the maps. Nothing outside this folder knows aya.

mod at_socket;
mod attachment;
mod clock;
mod clsact;
mod contest;
mod departures;
mod endpoints;
mod error;
mod events;
mod gates;
mod grace;
mod hooks;
mod judge;
mod line;
mod link;
mod log;
mod method;
mod migration;
mod network;
mod object;
mod pins;
mod probe;
mod removal;
mod ring;
mod steer;
mod table;
mod tables;
mod tags;
mod takeover;
mod tcx_line;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::FdLink;

use self::at_socket::at_socket;
use self::attachment::Attached;
pub use self::attachment::Attachment;
pub(crate) use self::attachment::causes;
pub use self::clock::now;
pub use self::contest::Change;
pub use self::departures::Departures;
use self::endpoints::Endpoints;
pub use self::error::Error;
pub use self::events::Events;
pub use self::judge::{Judge, Judgement};
pub use self::log::KernelLog;
pub(crate) use self::method::ways;
pub use self::method::{AttachMode, Method, TcHook};
use self::object::Program;
pub use self::object::capacity;
use self::pins::Pins;
pub(crate) use self::pins::{check as check_pin_directory, is_on_bpffs};
pub(crate) use self::probe::{ProgramKind, has_tcx, left_attached, try_programs};
pub use self::removal::remove;
pub use self::tables::{Counters, Tables};
pub use self::takeover::Takeover;

/// What the datapath needs to know before anything is loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A directory of the agent's own in bpffs; made if it is missing.
    pub pin_dir: PathBuf,
    /// How many sessions there may be at once; of flows there may be twice as many.
    pub max_sessions: u32,
    /// How much the kernel programs say.
    pub kernel_log: KernelLog,
    /// The directory of the cgroup below which all sessions have theirs; none if this node has no such thing.
    pub sessions_cgroup: Option<PathBuf>,
}

/// The loaded programs and where they are attached. Dropping it leaves everything in force.
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    ebpf: Ebpf,
    /// The programs that are loaded and pinned.
    pinned: BTreeSet<Program>,
    attached: BTreeMap<u32, Attached>,
    /// What judges what sessions open themselves.
    endpoints: Endpoints,
    /// What leads the connections of trusted relays to the relay has been attached by this agent.
    steers: bool,
    /// Follows closing sockets; held only so that it is clear who holds it.
    _close: FdLink,
}

impl Datapath {
    /// Loads the programs, over the maps that an earlier agent left where they fit, and replaces its programs where they
    /// are attached, so that no packet goes unjudged meanwhile.
    ///
    /// What an earlier agent left never keeps this one from starting: see [`Takeover`]. Must be called in the network
    /// namespace whose devices are to be covered.
    pub fn open(settings: &Settings) -> Result<(Self, Takeover), Error> {
        let pins = Pins::prepare(&settings.pin_dir)?;
        takeover::open(pins, settings)
    }

    /// The maps of this agent.
    pub fn tables(&self) -> Result<Tables, Error> {
        Tables::open_directory(&self.directory())
    }

    /// The kernel's events. There can be one reader only: each event is read once.
    pub fn events(&self) -> Result<Events, Error> {
        Events::open(&self.directory())
    }

    /// Which connections sessions open to nodes that the agent vouches to. There can be one reader only.
    pub fn departures(&self) -> Result<Departures, Error> {
        Departures::open(&self.directory())
    }

    /// Has the connections of trusted relays to login ports led to the relay alone, or no longer. Must be called in the node's
    /// network namespace.
    pub fn steer(&mut self, on: bool) -> Result<(), Error> {
        let directory = self.directory();
        let is_there = steer::is_attached(&directory);
        match on {
            // An earlier agent's program goes once this one's is there.
            true if !self.steers || !is_there => steer::attach(&mut self.ebpf, &directory)?,
            false if is_there => steer::detach(&directory)?,
            true | false => {}
        }
        self.steers = on;
        Ok(())
    }

    /// Leads those of its family to this listener, until that is closed; `local` is its own address.
    pub fn lead_to(&self, listener: &impl AsRawFd, local: IpAddr) -> Result<(), Error> {
        steer::lead_to(listener, local, &self.directory())
    }

    /// Hands what the kernel programs say to the `log` crate's logger for as long as the future runs; `None` from the
    /// second call on. Must be called inside a tokio runtime.
    pub fn kernel_log(&mut self) -> Result<Option<impl Future<Output = io::Error> + use<>>, Error> {
        log::reader(&mut self.ebpf).map_err(Error::Events)
    }

    /// Where the programs are attached.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attached.values().map(|attached| &attached.attachment)
    }

    fn directory(&self) -> PathBuf {
        self.pins.current()
    }
}

/// Whether an agent has loaded programs and maps below this pin directory since the node booted.
pub fn is_loaded(pin_dir: &Path) -> bool {
    pins::version_directory(pin_dir, agent_ebpf::ABI_VERSION).is_dir()
}
