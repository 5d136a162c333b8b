//! Numbers in no order, of as many as are set when a program is loaded; the same ones for each program.
#![expect(unsafe_code, reason = "settings are exported symbols, and read where they are")]

/// The last of the row that was drawn.
#[unsafe(no_mangle)]
static mut LAST: u64 = 0;

/// The first of the numbers.
#[unsafe(no_mangle)]
static FIRST: u32 = 0;
/// How many there are.
#[unsafe(no_mangle)]
static COUNT: u32 = 1;

/// Any of them.
#[inline(always)]
pub(crate) fn any() -> u32 {
    let nth = (next() * u64::from(setting(&COUNT))) >> 32;
    setting(&FIRST).wrapping_add(nth as u32)
}

/// The next of a row of numbers of 32 bits without order (Knuth, The Art of Computer Programming, 3.3.4): the kernel's helper
/// would take longer than some of what is measured.
#[inline(always)]
fn next() -> u64 {
    let state = &raw mut LAST;
    // SAFETY: a number of our own. Two processors at once would draw some numbers both.
    let last = unsafe { state.read_volatile() };
    let next = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    // SAFETY: as above.
    unsafe { state.write_volatile(next) };
    next >> 32
}

/// A number that is set when the program is loaded.
#[inline(always)]
pub(crate) fn setting(number: &'static u32) -> u32 {
    // SAFETY: a number like any other, but for the compiler, which knows another one.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}
