//! The few rtnetlink messages that are needed, taken apart by hand: unknown attributes never make a message unreadable.

use std::io;
use std::net::IpAddr;

use agent_ebpf::Layer;
use netlink_packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::{Interface, XdpProgram};

/// `RTM_GETLINK`; takes an `ifinfomsg`.
pub(crate) const GET_LINK: u16 = 18;
/// `RTM_GETADDR`; takes an `ifaddrmsg`.
pub(crate) const GET_ADDRESS: u16 = 22;
/// `RTM_DELTFILTER`; takes a `tcmsg`.
pub(crate) const DELETE_FILTER: u16 = 45;
/// `RTM_GETTFILTER`; takes a `tcmsg`.
pub(crate) const GET_FILTER: u16 = 46;

const MESSAGE_HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_ACK: u16 = 0x5;
const REQUEST_DUMP: u16 = 0x301;
const INTERRUPTED: u16 = 0x10;

/// Asks for a whole table and returns the payload of each answer. A table that changes meanwhile is read again.
pub(crate) fn dump(kind: u16, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    for _ in 0..8 {
        if let Some(answers) = dump_once(kind, request)? {
            return Ok(answers);
        }
    }
    Err(io::Error::from(Errno::INTR))
}

/// Has the kernel change something, and waits until it has.
pub(crate) fn change(kind: u16, request: &[u8]) -> io::Result<()> {
    change_with(kind, 0, request)
}

/// The same, with further flags of netlink's.
pub(super) fn change_with(kind: u16, flags: u16, request: &[u8]) -> io::Result<()> {
    let socket = ask(kind, REQUEST_ACK | flags, request)?;
    let (datagram, _sender) = socket.recv_from_full()?;
    let answer = NetlinkBuffer::new_checked(&datagram[..]).map_err(io::Error::other)?;
    match number(answer.payload()) {
        Some(0) if answer.message_type() == ERROR => Ok(()),
        _ => Err(error(answer.payload())),
    }
}

fn ask(kind: u16, flags: u16, request: &[u8]) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut message = vec![0; MESSAGE_HEADER + request.len()];
    let length = message.len() as u32;
    message[MESSAGE_HEADER..].copy_from_slice(request);
    let mut header = NetlinkBuffer::new(&mut message[..]);
    header.set_length(length);
    header.set_message_type(kind);
    header.set_flags(flags);
    header.set_sequence_number(1);
    socket.send(&message, 0)?;
    Ok(socket)
}

fn dump_once(kind: u16, request: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
    let socket = ask(kind, REQUEST_DUMP, request)?;
    let mut answers = Vec::new();
    let mut consistent = true;
    loop {
        let (datagram, _sender) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            consistent &= message.flags() & INTERRUPTED == 0;
            match message.message_type() {
                DONE => return Ok(consistent.then_some(answers)),
                ERROR => return Err(error(message.payload())),
                _ => answers.push(message.payload().to_vec()),
            }
            let next = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

fn error(payload: &[u8]) -> io::Error {
    let code = number(payload).map_or(0, |number| -number.cast_signed());
    io::Error::from_raw_os_error(code)
}

/// The attributes of a message, by kind.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).filter_map(|attribute: NlaBuffer<&[u8]>| {
        let length = usize::from(attribute.length());
        Some((attribute.kind(), attribute.into_inner().get(4..length)?))
    })
}

/// The attribute of this kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// The first four bytes as a number in the machine's byte order.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A text attribute, without its final NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Reads an `ifinfomsg` and its attributes.
pub(super) fn link(message: &[u8]) -> Option<Interface> {
    const IFNAME: u16 = 3;
    const MASTER: u16 = 10;
    const LINKINFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    const XDP: u16 = 43;
    const HARDWARE_ETHERNET: u16 = 1;
    const HARDWARE_LOOPBACK: u16 = 772;
    const FLAG_LOOPBACK: u32 = 0x8;

    let (header, rest) = message.split_at_checked(16)?;
    let hardware = u16::from_ne_bytes([header[2], header[3]]);
    let flags = number(&header[8..])?;
    Some(Interface {
        name: text(attribute(rest, IFNAME)?),
        index: number(&header[4..])?,
        kind: attribute(rest, LINKINFO).and_then(|info| attribute(info, INFO_KIND)).map(text),
        master: attribute(rest, MASTER).and_then(number),
        loopback: flags & FLAG_LOOPBACK != 0,
        layer: if matches!(hardware, HARDWARE_ETHERNET | HARDWARE_LOOPBACK) {
            Layer::Ethernet
        } else {
            Layer::Ip
        },
        addresses: Vec::new(),
        xdp: attribute(rest, XDP).and_then(xdp),
    })
}

fn xdp(attributes: &[u8]) -> Option<XdpProgram> {
    const ATTACHED: u16 = 2;
    const PROGRAM_ID: u16 = 4;
    const ATTACHED_GENERIC: u8 = 2;

    let [attached] = *attribute(attributes, ATTACHED)? else { return None };
    let id = attribute(attributes, PROGRAM_ID).and_then(number);
    // Of several at once (offloaded beside native) the kernel names none; some program is there all the same.
    (attached != 0).then(|| XdpProgram { id: id.unwrap_or(0), generic: attached == ATTACHED_GENERIC })
}

/// Reads an `ifaddrmsg` and its attributes: the device's index and its own address.
pub(super) fn address(message: &[u8]) -> Option<(u32, IpAddr)> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;

    let (header, rest) = message.split_at_checked(8)?;
    // On a point-to-point device ADDRESS is the other end's.
    let octets = attribute(rest, LOCAL).or_else(|| attribute(rest, ADDRESS))?;
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some((number(&header[4..])?, address))
}
