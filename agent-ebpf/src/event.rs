//! What the kernel reports of a packet.

use core::net::SocketAddr;

use crate::packet::Content;
use crate::{Action, Address, Frame, Nanoseconds, Packet, Port, Reason, SessionId};

/// One packet that was dropped, or would have been.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    time: Nanoseconds,
    session: SessionId,
    source: Address,
    destination: Address,
    source_port: Port,
    destination_port: Port,
    interface: u32,
    reason: u8,
    overruled: u8,
    action: u8,
    protocol: u8,
    _reserved: [u8; 4],
}

const _: () = assert!(size_of::<Event>() == 64);

impl Event {
    /// What the verdict of this number ([`crate::Verdict::number`]) said of `packet`, whose session is that one if it has any, seen
    /// on the interface with this index.
    #[inline(always)]
    pub fn new<F: Frame + ?Sized>(
        time: Nanoseconds,
        packet: &Packet<'_, F>,
        session: SessionId,
        verdict: u32,
        interface: u32,
    ) -> Self {
        let (protocol, source_port, destination_port) = match packet.content() {
            Content::Segment(segment) => (segment.protocol as u8, segment.source, segment.destination),
            Content::NotIp | Content::Fragment | Content::Portless | Content::Malformed => {
                (0, Port::from_octets([0; 2]), Port::from_octets([0; 2]))
            }
        };
        let [reason, overruled, action, _] = verdict.to_le_bytes();
        Self {
            time,
            session,
            source: packet.source(),
            destination: packet.destination(),
            source_port,
            destination_port,
            interface,
            reason,
            overruled,
            action,
            protocol,
            _reserved: [0; 4],
        }
    }

    /// When.
    pub const fn time(&self) -> Nanoseconds {
        self.time
    }

    /// Whose packet; `None` if of no session.
    pub fn session(&self) -> Option<SessionId> {
        (self.session != SessionId::NONE).then_some(self.session)
    }

    /// Where it came from; port 0 if the ports could not be read.
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.source.ip(), self.source_port.number())
    }

    /// Where it went to; port 0 if the ports could not be read.
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.destination.ip(), self.destination_port.number())
    }

    /// The index of the interface that it came in on.
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// The IP protocol number; 0 if the ports could not be read.
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Why it passed or was dropped; `None` if a newer kernel program wrote a reason that is not known here.
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_byte(self.reason)
    }

    /// Why it would have been dropped in enforce mode.
    pub const fn overruled(&self) -> Option<Reason> {
        Reason::from_byte(self.overruled)
    }

    /// What happened to it.
    pub const fn action(&self) -> Action {
        if self.action == Action::Drop as u8 { Action::Drop } else { Action::Pass }
    }
}

impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Event")
            .field("time", &self.time)
            .field("session", &self.session)
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("interface", &self.interface)
            .field("reason", &self.reason())
            .field("overruled", &self.overruled())
            .finish()
    }
}
