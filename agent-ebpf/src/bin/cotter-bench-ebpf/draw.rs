//! Numbers drawn by lot, of as many as are set when a program is loaded.
#![expect(unsafe_code, reason = "settings are exported symbols, and read where they are")]

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;

/// The first of the numbers.
#[unsafe(no_mangle)]
static FIRST: u32 = 0;
/// How many there are.
#[unsafe(no_mangle)]
static COUNT: u32 = 1;

/// Any of them.
#[inline(always)]
pub(crate) fn any() -> u32 {
    // SAFETY: asks for a number.
    let drawn = u64::from(unsafe { bpf_get_prandom_u32() });
    let nth = (drawn * u64::from(setting(&COUNT))) >> 32;
    setting(&FIRST).wrapping_add(nth as u32)
}

/// A number that is set when the program is loaded.
#[inline(always)]
pub(crate) fn setting(number: &'static u32) -> u32 {
    // SAFETY: a number like any other, but for the compiler, which knows another one.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}
