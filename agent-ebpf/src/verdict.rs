//! The packet policy.

use crate::packet::{Content, Step};
use crate::{
    Action, Address, FlowKey, Frame, Mode, Packet, PortClass, Protocol, Reason, SessionId, SessionState,
    Tables,
};

/// Why a packet passes or is dropped.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Why; [`Reason::action`] says what happens.
    pub reason: Reason,
    /// Why it would have been dropped, where audit mode let it pass.
    pub overruled: Option<Reason>,
    /// Whose packet it is, as far as that was looked at.
    pub session: SessionId,
}

/// Judges a packet by what the tables say.
///
/// Traffic that is not ours leaves first. A known flow is looked up before anybody asks whose address the packet is
/// for: the flow's key holds the node's own address, so what is found there is for the node.
///
/// Of a connection that is not known, only the request to open it can be dropped, and what could hide such a request. A
/// connection that is there already (in the middle of its login, older than the agent, opened with a break-glass key) is
/// never stalled by a penalty that a neighbour behind the same address has earned.
#[inline(always)]
pub fn verdict<F: Frame + ?Sized>(packet: &Packet<'_, F>, tables: &impl Tables) -> Verdict {
    let segment = match packet.content() {
        Content::NotIp => return Verdict::plain(Reason::NotIp),
        Content::Fragment => return Verdict::plain(Reason::Fragment),
        Content::Portless => return Verdict::plain(Reason::NotProtected),
        Content::Malformed => return malformed(packet, tables),
        Content::Segment(segment) => segment,
    };
    if segment.protocol != Protocol::Tcp || !tables.port_class(segment.destination).is(PortClass::TCP_LOGIN) {
        return Verdict::plain(Reason::NotProtected);
    }
    let node = node_mode(tables);
    if node == Mode::Off {
        return Verdict::plain(Reason::NotProtected);
    }

    let (source, destination) = (packet.source(), packet.destination());
    let key = FlowKey::new(segment.protocol, (source, segment.source), (destination, segment.destination));
    if let Some(flow) = tables.flow(&key) {
        let id = flow.session();
        let Some(session) = tables.session(id) else {
            return conclude(Reason::SessionCut, id, node, source, tables);
        };
        let reason = if session.state() == SessionState::Cut {
            Reason::SessionCut
        } else if session.is_over(|| tables.now()) {
            Reason::SessionExpired
        } else if session.admits(source) {
            Reason::Pinned
        } else {
            Reason::AddressMismatch
        };
        return conclude(reason, id, node.weaker(session.mode()), source, tables);
    }

    let reason = if !tables.is_local(destination) {
        Reason::NotLocal
    } else {
        match packet.step(&segment) {
            Step::Continue => Reason::LoginAttempt,
            Step::Unreadable => Reason::Malformed,
            Step::Join => Reason::MptcpJoin,
            Step::Open if is_under_penalty(source, tables) => Reason::Penalty,
            Step::Open => Reason::LoginAttempt,
        }
    };
    conclude(reason, SessionId::NONE, node, source, tables)
}

/// A packet whose ports cannot be read is ours to drop only if it is for the node.
#[inline(always)]
fn malformed<F: Frame + ?Sized>(packet: &Packet<'_, F>, tables: &impl Tables) -> Verdict {
    if !tables.is_local(packet.destination()) {
        return Verdict::plain(Reason::NotLocal);
    }
    conclude(Reason::Malformed, SessionId::NONE, node_mode(tables), packet.source(), tables)
}

#[inline(always)]
fn is_under_penalty(source: Address, tables: &impl Tables) -> bool {
    tables.penalty(source.neighbourhood()).is_some_and(|penalty| !penalty.is_over(tables.now()))
}

/// What a reason comes to, given who must never be dropped and what the mode allows.
#[inline(always)]
fn conclude(
    reason: Reason,
    session: SessionId,
    mode: Mode,
    source: Address,
    tables: &impl Tables,
) -> Verdict {
    let verdict = Verdict { reason, overruled: None, session };
    match reason.action() {
        Action::Pass => verdict,
        Action::Drop if tables.is_never_dropped(source) => Verdict { reason: Reason::NeverDrop, ..verdict },
        Action::Drop => match mode {
            Mode::Enforce => verdict,
            Mode::Audit => Verdict { reason: Reason::Audit, overruled: Some(reason), ..verdict },
            Mode::Off => Verdict { reason: Reason::NotProtected, ..verdict },
        },
    }
}

#[inline(always)]
fn node_mode(tables: &impl Tables) -> Mode {
    tables.node().map_or(Mode::Off, |node| node.mode(|| tables.now()))
}

impl Verdict {
    /// A verdict that no session and no mode had a part in.
    #[inline(always)]
    const fn plain(reason: Reason) -> Self {
        Self { reason, overruled: None, session: SessionId::NONE }
    }
}
