//! A packet from many addresses, sent out of a device.
#![expect(
    unsafe_code,
    reason = "hooks are exported symbols; packets are written through pointers that the verifier checks"
)]

use core::net::Ipv4Addr;

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::btf_maps::DevMap;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

use crate::draw;

/// Where in a frame the checksum of its IPv4 header is, and the source behind it.
const CHECKSUM: usize = 14 + 10;

/// The checksum and the source.
type Fields = [u16; 3];

/// The device that a flood leaves by.
#[btf_map]
static WAY_OUT: DevMap<1> = DevMap::new();
/// The sum of what else is in the header, in words of two bytes as they are read.
#[unsafe(no_mangle)]
static SUM: u32 = 0;

/// Sends the packet out of the device, from any of the addresses.
#[xdp(frags)]
fn flood(context: XdpContext) -> u32 {
    if depart(&context).is_none() {
        return XDP_ABORTED;
    }
    WAY_OUT.redirect(0, 0).unwrap_or(XDP_ABORTED)
}

/// Gives the packet any of the addresses as its source, and a checksum that fits.
#[inline(always)]
fn depart(context: &XdpContext) -> Option<()> {
    let fields = context.data() + CHECKSUM;
    if fields + size_of::<Fields>() > context.data_end() {
        return None;
    }
    let [a, b, c, d] = Ipv4Addr::from(draw::any()).octets();
    let source = [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])];
    // SAFETY: the comparison above proves that they lie in the packet.
    unsafe { (fields as *mut Fields).write_unaligned([checksum(source), source[0], source[1]]) };
    Some(())
}

/// RFC 1071; it comes out in the order of bytes that the words were read in.
#[inline(always)]
fn checksum(source: [u16; 2]) -> u16 {
    let sum = draw::setting(&SUM) + u32::from(source[0]) + u32::from(source[1]);
    let once = (sum >> 16) + (sum & 0xffff);
    !((once >> 16) + once) as u16
}
