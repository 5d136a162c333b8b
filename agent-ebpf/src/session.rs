//! Sessions as the kernel needs to know them.

use crate::{Address, Gates, Mode, NEVER, Nanoseconds, Network, Protocol, SocketCookie};

/// A session's name: random, never reused, never 0.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// No session.
    pub const NONE: Self = Self(0);

    /// The session of this number.
    #[inline(always)]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl core::fmt::Display for SessionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl core::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Whether a session may still send.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionState {
    /// Its packets are judged by its pins.
    Live = 0,
    /// All its packets are dropped.
    Cut = 1,
}

/// Which of a session's endpoints only its pins may reach.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HeldEndpoints {
    /// None.
    None = 0,
    /// UDP sockets, whose clients roam.
    Udp = 1,
    /// TCP listeners too.
    All = 2,
}

impl HeldEndpoints {
    /// What a record's byte means. One that is not known holds everything.
    pub(crate) const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::None,
            1 => Self::Udp,
            _ => Self::All,
        }
    }

    /// Whether endpoints of this protocol are among them.
    #[inline(always)]
    pub const fn has(self, protocol: Protocol) -> bool {
        match self {
            Self::None => false,
            Self::Udp => matches!(protocol, Protocol::Udp),
            Self::All => true,
        }
    }
}

/// Where a session may send from, until when, and how strictly.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    deadline: Nanoseconds,
    state: u8,
    mode: u8,
    unpinned: u8,
    count: u8,
    note: u8,
    endpoints: u8,
    _padding: [u8; 2],
    pins: [Network; Session::PINS],
    gates: Gates,
    connection: SocketCookie,
    _reserved: [u8; 32],
}

const _: () = assert!(size_of::<Session>() == 256);

impl Session {
    /// How many networks a session can be pinned to.
    pub const PINS: usize = 8;

    /// A live session without an end, judged as strictly as the node is.
    pub const fn unpinned() -> Self {
        Self {
            deadline: NEVER,
            state: SessionState::Live as u8,
            mode: Mode::Enforce as u8,
            unpinned: 1,
            count: 0,
            note: 0,
            endpoints: HeldEndpoints::None as u8,
            pins: [Network::host(Address::new([0; 16])); Self::PINS],
            _padding: [0; 2],
            gates: Gates::NONE,
            connection: 0,
            _reserved: [0; 32],
        }
    }

    /// A live session without an end, pinned to the first [`Self::PINS`] of `networks`; to nowhere if there are none.
    pub fn pinned(networks: &[Network]) -> Self {
        let mut session = Self { unpinned: 0, ..Self::unpinned() };
        for (slot, network) in session.pins.iter_mut().zip(networks) {
            *slot = *network;
            session.count += 1;
        }
        session
    }

    /// The same session with an end.
    pub const fn with_deadline(self, deadline: Nanoseconds) -> Self {
        Self { deadline, ..self }
    }

    /// The same session in a mode of its own; the weaker of it and the node's counts.
    pub const fn with_mode(self, mode: Mode) -> Self {
        Self { mode: mode as u8, ..self }
    }

    /// The same session, live or cut.
    pub const fn with_state(self, state: SessionState) -> Self {
        Self { state: state as u8, ..self }
    }

    /// The same session with these of its endpoints held to its pins.
    pub const fn with_endpoints(self, endpoints: HeldEndpoints) -> Self {
        Self { endpoints: endpoints as u8, ..self }
    }

    /// The same session, opening these gates to where it is pinned.
    pub const fn with_gates(self, gates: Gates) -> Self {
        Self { gates, ..self }
    }

    /// The same session, which began on the connection of this socket.
    pub const fn with_connection(self, connection: SocketCookie) -> Self {
        Self { connection, ..self }
    }

    /// The same session, pinned to where another is.
    pub const fn moved_to(self, other: &Self) -> Self {
        Self { unpinned: other.unpinned, count: other.count, pins: other.pins, ..self }
    }

    /// The same session with something that its agent wants its successor to know; the kernel does not look at it.
    pub const fn with_note(self, note: u8) -> Self {
        Self { note, ..self }
    }

    /// What its agent has noted; 0: nothing.
    pub const fn note(&self) -> u8 {
        self.note
    }

    /// When it ends; [`NEVER`] if by itself only.
    #[inline(always)]
    pub const fn deadline(&self) -> Nanoseconds {
        self.deadline
    }

    /// Whether its end has come; `now` is asked only if it has one.
    #[inline(always)]
    pub fn is_over(&self, now: impl FnOnce() -> Nanoseconds) -> bool {
        self.deadline != NEVER && self.deadline <= now()
    }

    /// Whether it may still send. A state that is not known counts as cut.
    #[inline(always)]
    pub const fn state(&self) -> SessionState {
        if self.state == SessionState::Live as u8 { SessionState::Live } else { SessionState::Cut }
    }

    /// Its own mode.
    #[inline(always)]
    pub const fn mode(&self) -> Mode {
        Mode::from_byte(self.mode)
    }

    /// Which of its endpoints are held to its pins.
    #[inline(always)]
    pub const fn endpoints(&self) -> HeldEndpoints {
        HeldEndpoints::from_byte(self.endpoints)
    }

    /// The gates that it opens.
    #[inline(always)]
    pub const fn gates(&self) -> Gates {
        self.gates
    }

    /// The socket of the connection that it began on, which may be closed by now.
    #[inline(always)]
    pub const fn connection(&self) -> SocketCookie {
        self.connection
    }

    /// Whether it may send from anywhere.
    #[inline(always)]
    pub const fn is_unpinned(&self) -> bool {
        self.unpinned != 0
    }

    /// The networks that it is pinned to.
    pub fn pins(&self) -> &[Network] {
        &self.pins[..usize::from(self.count).min(Self::PINS)]
    }

    /// Whether packets from `source` may belong to it.
    #[inline(always)]
    pub fn admits(&self, source: Address) -> bool {
        if self.is_unpinned() {
            return true;
        }
        // A counted walk over all slots, because the verifier must see the end of the loop.
        for (index, pin) in self.pins.iter().enumerate() {
            if index >= usize::from(self.count) {
                return false;
            }
            if pin.contains(source) {
                return true;
            }
        }
        false
    }
}
