//! `explain`: what the loaded program says of a packet, and why.

use super::exit::Failure;
use super::gate::why_shut;
use super::program::ProgramOptions;
use super::{Common, Exit, output};
use crate::config::Places;
use crate::datapath::{Judge, Judgement, Tables};
use crate::session::Record;
use agent_ebpf::{Action, FlowKey, GatedPort, KNOCK, Layer, Port, Reason, SessionId};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where the packet comes from
    #[arg(long, value_name = "IP:PORT")]
    from: SocketAddr,
    /// Where it goes
    #[arg(long, value_name = "IP:PORT")]
    to: SocketAddr,
    /// Its protocol
    #[arg(long, value_enum, default_value_t = Protocol::Tcp)]
    proto: Protocol,
    #[command(flatten)]
    program: ProgramOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Serialize)]
struct Explanation {
    action: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    overruled: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Where the session's user is, and how that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_how: Option<String>,
    why: String,
}

pub(super) fn explain(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let frame = frame(options).map_err(Failure::usage)?;
    let pin_dir = Places::of(&common.config).bpf_pin_dir;
    let mut judge = Judge::open(&pin_dir, options.program.method()).map_err(Failure::unavailable)?;
    let tables = Tables::open(&pin_dir).map_err(Failure::unavailable)?;
    let judged = judge.judge_throughout(&frame, Layer::Ethernet, &tables).map_err(Failure::unavailable)?;
    let session = judged.session.or_else(|| session_of(&tables, options));
    let reason = judged.overruled.unwrap_or(judged.reason);
    let why = if reason == Reason::NoGrant {
        why_shut(&tables, options.from.ip(), gate(options)).map_err(Failure::unavailable)?
    } else {
        why(reason).to_owned()
    };
    let explanation = explanation(judged, session, why, &tables);
    if common.json {
        output::json(&explanation);
    } else {
        output::line(&explanation.line());
    }
    Ok(match judged.reason.action() {
        Action::Pass => Exit::Done,
        Action::Drop => Exit::Denied,
    })
}

fn gate(options: &Options) -> GatedPort {
    let protocol = match options.proto {
        Protocol::Tcp => agent_ebpf::Protocol::Tcp,
        Protocol::Udp => agent_ebpf::Protocol::Udp,
    };
    GatedPort::new(protocol, Port::new(options.to.port()))
}

fn explanation(judged: Judgement, session: Option<SessionId>, why: String, tables: &Tables) -> Explanation {
    let record = session.and_then(|id| Record::decode(&tables.details(id).ok()??));
    let subject = record.map(|record| record.subject).unwrap_or_default();
    Explanation {
        action: judged.reason.action().name(),
        reason: judged.reason.name(),
        overruled: judged.overruled.map(Reason::name),
        session: session.map(|id| id.to_string()),
        observed: subject.observed,
        observed_how: subject.observed_how,
        why,
    }
}

impl Explanation {
    fn line(&self) -> String {
        let of = match (&self.session, &self.observed, &self.observed_how) {
            (Some(id), Some(observed), Some(how)) => format!(" (session {id}, of {observed}, {how})"),
            (Some(id), _, _) => format!(" (session {id})"),
            (None, _, _) => String::new(),
        };
        format!("{}: {}{of}: {}", self.action, self.reason, self.why)
    }
}

fn session_of(tables: &Tables, options: &Options) -> Option<SessionId> {
    let flow = tables.flow(&FlowKey::tcp(options.from, options.to)).ok().flatten();
    flow.filter(|_| options.proto == Protocol::Tcp).map(|flow| flow.session())
}

/// A reason as a sentence.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::NotIp => "not an IP packet",
        Reason::NotProtected => "nothing protected listens on that port, or the mode is off",
        Reason::NotLocal => "the destination is not one of this node's addresses",
        Reason::Fragment => "a later fragment; the first one was judged",
        Reason::Pinned => "the connection or port belongs to a session, and the source is inside its pin",
        Reason::LoginAttempt => {
            "an unknown connection to a login port, on which sshd and the login check decide; or a knock"
        }
        Reason::Granted => "a live session is pinned to the source, and opens that port to it",
        Reason::NeverDrop => "the source is in never_drop",
        Reason::Audit => "the mode is audit",
        Reason::AddressMismatch => {
            "the source is outside the pin of the session that is connected or listens there"
        }
        Reason::SessionExpired => "the session's end has come",
        Reason::SessionCut => "the session was cut, or the connection stayed without one",
        Reason::NoGrant => "a gate stands before that port, and no live session is pinned to the source",
        Reason::Penalty => {
            "the source was denied too often, or knocks too often, and is kept out for a while"
        }
        Reason::MptcpJoin => "a multipath subflow could come from another address",
        Reason::Malformed => {
            "the ports cannot be read; or no knock, where knocks are heard; or for loopback, which no device leads to"
        }
    }
}

/// A SYN or a datagram of this kind, as an Ethernet frame; checksums are left out, the program does not look at them.
fn frame(options: &Options) -> Result<Vec<u8>, String> {
    let mut frame = vec![0; 12];
    let (protocol, transport): (u8, usize) = match options.proto {
        Protocol::Tcp => (6, 20),
        Protocol::Udp => (17, 8 + KNOCK.len()),
    };
    let length = u16::try_from(transport).map_err(|error| error.to_string())?;
    match (options.from.ip().to_canonical(), options.to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (from, to) => return Err(format!("{from} and {to} are of different address families")),
    }
    frame.extend(options.from.port().to_be_bytes());
    frame.extend(options.to.port().to_be_bytes());
    match options.proto {
        // Header length of five words, flag SYN.
        Protocol::Tcp => frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]),
        // Where knocks are heard nothing else is let through.
        Protocol::Udp => {
            frame.extend(length.to_be_bytes());
            frame.extend([0, 0]);
            frame.extend(KNOCK);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::{Content, Packet};

    fn options(from: &str, to: &str, proto: Protocol) -> Options {
        let program = ProgramOptions::default();
        Options { from: from.parse().unwrap(), to: to.parse().unwrap(), proto, program }
    }

    fn parsed(from: &str, to: &str, proto: Protocol) -> (String, String, u16, u16) {
        let frame = frame(&options(from, to, proto)).unwrap();
        let packet = Packet::parse(frame.as_slice(), Layer::Ethernet);
        let Content::Segment(segment) = packet.content() else { panic!("no segment") };
        let (from, to) = (packet.source().ip().to_string(), packet.destination().ip().to_string());
        (from, to, segment.source.number(), segment.destination.number())
    }

    #[test]
    fn the_made_packet_is_read_as_what_was_asked_for() {
        let expected = ("198.51.111.1".to_owned(), "198.51.100.10".to_owned(), 50_000, 22);
        for proto in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(parsed("198.51.111.1:50000", "198.51.100.10:22", proto), expected);
        }
        let expected = ("2001:db8::1".to_owned(), "2001:db8::2".to_owned(), 1, 2);
        assert_eq!(parsed("[2001:db8::1]:1", "[2001:db8::2]:2", Protocol::Tcp), expected);
    }

    #[test]
    fn mixed_families_are_refused() {
        assert!(frame(&options("192.0.2.1:1", "[::1]:2", Protocol::Tcp)).is_err());
    }
}
