//! Which programs stand at TCX on a device's way in, by their ids alone: to ask for those takes `CAP_NET_ADMIN`, where to
//! open the programs, which the loader does to answer the same, takes `CAP_SYS_ADMIN`.
#![expect(unsafe_code, reason = "bpf(2) takes a union, and a pointer in it")]

use std::io;
use std::mem::{size_of, zeroed};

use aya_obj::generated::bpf_attach_type::BPF_TCX_INGRESS;
use aya_obj::generated::bpf_attr;
use aya_obj::generated::bpf_cmd::BPF_PROG_QUERY;

/// As many as the kernel lets stand in one line (`BPF_MPROG_MAX`, Linux 6.6).
const MOST: usize = 64;

/// The ids of the programs, the first to run first. `EINVAL` where the kernel has no TCX.
pub(super) fn ids(interface: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MOST];
    // SAFETY: all zeros is a value of every member of the union.
    let mut request: bpf_attr = unsafe { zeroed() };
    request.query.__bindgen_anon_1.target_ifindex = interface;
    request.query.attach_type = BPF_TCX_INGRESS as u32;
    request.query.prog_ids = ids.as_mut_ptr().expose_provenance() as u64;
    request.query.__bindgen_anon_2.count = MOST as u32;
    // SAFETY: the kernel reads and writes the union in its whole size, and writes at most `count` ids; both live until
    // it returns, and nobody else uses them.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY as libc::c_int, &raw mut request, size_of::<bpf_attr>())
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel was asked about this member, and every value of its parts is one.
    let query = unsafe { request.query };
    // SAFETY: the kernel has written the number of programs there.
    let count = unsafe { query.__bindgen_anon_2.count };
    Ok(ids[..MOST.min(count as usize)].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        // Without TCX, or without the right to ask, it is another one.
        let expected = [rustix::io::Errno::NODEV, rustix::io::Errno::INVAL, rustix::io::Errno::PERM];
        let error = rustix::io::Errno::from_io_error(&ids(0x7fff_fffe).unwrap_err()).unwrap();
        assert!(expected.contains(&error), "{error}");
    }
}
