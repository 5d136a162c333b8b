//! The packet policy.

use crate::here::Here;
use crate::packet::Content;
use crate::{
    Action, Address, Asked, Flow, FlowKey, Frame, GatedPort, Gates, Grant, HeldEndpoints, Leg, Mode, Packet,
    PortClass, Protocol, Reason, Receiver, SessionId, SessionState, Standing, Step, Tables,
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

/// Judges a packet that has come to a device, by what the tables say.
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
    let class = tables.port_class(segment.destination).only(segment.protocol);
    if class == PortClass::NONE {
        return Verdict::plain(Reason::NotProtected);
    }
    let is_login = class.is_any(PortClass::TCP_LOGIN);
    let is_gated = class.is_any(PortClass::GATED);
    let is_knock = class.is_any(PortClass::UDP_KNOCK);
    let here = Here::at(tables);
    let node = here.mode();
    if node == Mode::Off {
        return Verdict::plain(Reason::NotProtected);
    }

    // What has a segment has addresses.
    let Some((source, destination)) = packet.addresses() else { return malformed(packet, tables) };
    let key = || FlowKey::new(segment.protocol, (source, segment.source), (destination, segment.destination));
    // There the relay connects to sshd, over no device. The stack drops what comes by one as well, unless it was told otherwise.
    if is_login && destination.is_loopback() {
        return conclude(Reason::Malformed, SessionId::NONE, node, source, &here);
    }
    let known = if is_login {
        tables.flow(&key()).map(|flow| (flow.session(), whereabouts(flow, source, tables)))
    } else if class.is_any(PortClass::VIOLATED) {
        tables.violated(&key()).map(|session| (session, source))
    } else {
        None
    };
    if let Some((id, user)) = known {
        let verdict = of_session(id, node, user, &here, |_| true);
        // What was learnt of an endpoint only drops: what passes is for its socket to judge.
        if is_login || verdict.reason.action() == Action::Drop {
            return verdict;
        }
    }
    if !class.is_any(PortClass::KEPT) {
        return Verdict::plain(Reason::NotProtected);
    }

    let gate = GatedPort::new(segment.protocol, segment.destination);
    let is_local = || here.is_local(destination) || (is_gated || is_knock) && packet.is_to_group();
    let reason = if !is_local() {
        Reason::NotLocal
    } else if is_gated && !(tables.may_have_grant(source) && tables.is_granted(source, gate, is_login)) {
        Reason::NoGrant
    } else if is_knock {
        match packet.is_knock(&segment) {
            false => Reason::Malformed,
            true if tables.may_knock(source.neighbourhood()) => Reason::LoginAttempt,
            true => Reason::Penalty,
        }
    } else if !is_login {
        Reason::Granted
    } else {
        match packet.step(&segment) {
            Step::Continue => Reason::LoginAttempt,
            Step::Unreadable => Reason::Malformed,
            Step::Join => Reason::MptcpJoin,
            Step::Open if is_under_penalty(source, tables) => Reason::Penalty,
            Step::Open => Reason::LoginAttempt,
        }
    };
    conclude(reason, SessionId::NONE, node, source, &here)
}

/// Where the user of a connection is: at the source of its packets, or where a balancer says. The way from the relay to sshd
/// leads over no device: whoever sends such packets is nobody's user.
#[inline(always)]
fn whereabouts(flow: &Flow, source: Address, tables: &impl Tables) -> Address {
    match flow.leg() {
        Leg::Whole => source,
        Leg::Outer => tables.observed(flow.cookie()).unwrap_or(Address::NOWHERE),
        Leg::Inner => Address::NOWHERE,
    }
}

/// Whether a source may reach a gated port: by a session, or, where logins are, by a knock.
#[inline(always)]
pub fn is_granted(source: Address, port: GatedPort, is_login: bool, tables: &impl Tables) -> bool {
    let Some(grant) = tables.grant(source) else { return false };
    is_login && grant.is_knocked(tables.now()) || {
        let gates = tables.gates(port);
        grant.sessions().iter().any(|session| opens(*session, gates, source, tables))
    }
}

/// Whether a session opens one of these gates to a source: it is pinned there, neither cut nor over, and somebody uses it.
/// Its connection is open, or one of its endpoints was used a short while ago: what was left behind opens nothing.
#[inline(always)]
fn opens(id: SessionId, gates: Gates, source: Address, tables: &impl Tables) -> bool {
    let Some(session) = tables.session(id) else { return false };
    session.gates().has_any(gates)
        && session.state() == SessionState::Live
        && !session.is_over(|| tables.now())
        && !session.is_unpinned()
        && session.admits(source)
        && (tables.is_connected(session.connection())
            || tables.last_use(id).is_some_and(|last| !Grant::is_idle(last, tables.now())))
}

/// Judges a packet that has come to a socket of a session.
///
/// A session that is cut or over receives nothing more. Of the others only endpoints are held to their pins: what a session
/// has connected itself, and what comes back there, is its own affair. So are answers to an endpoint from whom it is
/// connected to, and, where its port was left to the kernel, from whom it has sent to. What cannot be read is no answer.
#[inline(always)]
pub fn verdict_at_socket<F: Frame + ?Sized>(
    packet: &Packet<'_, F>,
    receiver: &Receiver,
    tables: &impl Tables,
) -> Verdict {
    let (tag, here, source) = (&receiver.tag, Here::at(tables), packet.source());
    let node = here.mode();
    if node == Mode::Off || !tag.is_open() && tables.session(tag.session()).is_none() {
        return Verdict::plain(Reason::NotProtected);
    }
    of_session(tag.session(), node, source, &here, |endpoints| {
        tag.is_open()
            && endpoints.has(tag.protocol())
            && !is_answer(packet.content(), source, receiver, tables)
    })
}

/// A packet of a session: `is_held` says whether its source must be one of the session's pins.
#[inline(always)]
fn of_session(
    id: SessionId,
    node: Mode,
    source: Address,
    here: &Here<'_, impl Tables>,
    is_held: impl FnOnce(HeldEndpoints) -> bool,
) -> Verdict {
    let Standing { reason, mode, endpoints } = here.tables.standing(id, source);
    let is_elsewhere = reason == Reason::AddressMismatch;
    let reason = if is_elsewhere && !is_held(endpoints) { Reason::NotProtected } else { reason };
    conclude(reason, id, node.weaker(mode), source, here)
}

/// Whether a datagram comes from whom its socket has turned to by itself.
#[inline(always)]
fn is_answer(content: Content, source: Address, receiver: &Receiver, tables: &impl Tables) -> bool {
    match receiver.tag.protocol() {
        Protocol::Tcp => false,
        Protocol::Udp if receiver.peer == Some(source) => true,
        Protocol::Udp => match content {
            Content::Segment(segment) => {
                receiver.tag.has_any_port()
                    && tables.has_asked(&Asked::new(receiver.cookie, source, segment.source))
            }
            Content::NotIp | Content::Fragment | Content::Portless | Content::Malformed => false,
        },
    }
}

/// A packet whose ports cannot be read is ours to drop only if it is for the node.
#[inline(always)]
fn malformed<F: Frame + ?Sized>(packet: &Packet<'_, F>, tables: &impl Tables) -> Verdict {
    let here = Here::at(tables);
    if !here.is_local(packet.destination()) {
        return Verdict::plain(Reason::NotLocal);
    }
    conclude(Reason::Malformed, SessionId::NONE, here.mode(), packet.source(), &here)
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
    here: &Here<'_, impl Tables>,
) -> Verdict {
    let verdict = Verdict { reason, overruled: None, session };
    match reason.action() {
        Action::Pass => verdict,
        Action::Drop if here.spares(source) => Verdict { reason: Reason::NeverDrop, ..verdict },
        Action::Drop => match mode {
            Mode::Enforce => verdict,
            Mode::Audit => Verdict { reason: Reason::Audit, overruled: Some(reason), ..verdict },
            Mode::Off => Verdict { reason: Reason::NotProtected, ..verdict },
        },
    }
}

impl Verdict {
    /// In the place of [`Self::overruled`] where nothing is.
    const NOT_OVERRULED: u8 = u8::MAX;

    /// All but the session as a number, as an event holds it: the reason, the one that was overruled, and what happens, a byte
    /// each, from the lowest.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        let overruled = match self.overruled {
            Some(reason) => reason as u8,
            None => Self::NOT_OVERRULED,
        };
        u32::from_le_bytes([self.reason as u8, overruled, self.reason.action() as u8, 0])
    }

    /// A verdict that no session and no mode had a part in.
    #[inline(always)]
    const fn plain(reason: Reason) -> Self {
        Self { reason, overruled: None, session: SessionId::NONE }
    }
}
