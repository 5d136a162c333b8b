//! A packet from many addresses, sent out of a device.
#![expect(
    unsafe_code,
    reason = "hooks are exported symbols; packets are written through pointers that the verifier checks"
)]

use core::net::Ipv4Addr;

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::draw;

/// The length of Ethernet's header.
const ETHERNET: usize = 14;
/// IPv4's header without options, in words of two bytes, and where in it the checksum and the source are.
type Header = [u16; 10];
const CHECKSUM: usize = 5;
const SOURCE: usize = 6;

/// The index of the device that a flood leaves by.
#[unsafe(no_mangle)]
static DEVICE: u32 = 0;

/// Sends the packet out of the device, from any of the addresses.
#[xdp(frags)]
fn flood(context: XdpContext) -> u32 {
    if depart(&context).is_none() {
        return XDP_ABORTED;
    }
    // SAFETY: takes numbers alone.
    unsafe { bpf_redirect(draw::setting(&DEVICE), 0) as u32 }
}

/// Gives the packet any of the addresses as its source, and a checksum that fits.
#[inline(always)]
fn depart(context: &XdpContext) -> Option<()> {
    let header = context.data() + ETHERNET;
    if header + size_of::<Header>() > context.data_end() {
        return None;
    }
    let header = header as *mut Header;
    // SAFETY: the comparison above proves that it lies in the packet.
    let mut words = unsafe { header.read_unaligned() };
    let [a, b, c, d] = Ipv4Addr::from(draw::any()).octets();
    words[SOURCE] = u16::from_ne_bytes([a, b]);
    words[SOURCE + 1] = u16::from_ne_bytes([c, d]);
    words[CHECKSUM] = 0;
    words[CHECKSUM] = checksum(&words);
    // SAFETY: as above.
    unsafe { header.write_unaligned(words) };
    Some(())
}

/// RFC 1071; it comes out in the order of bytes that the words were read in.
#[inline(always)]
fn checksum(words: &Header) -> u16 {
    let sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
    let once = (sum >> 16) + (sum & 0xffff);
    !((once >> 16) + once) as u16
}
