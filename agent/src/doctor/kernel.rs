//! The kernel: whether it is one that Cotter works with, found by trying.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use cotter_hook::connection::{DestroyError, Ended, destroy_flow};
use rustix::net::sockopt::socket_cookie;

use super::{Finding, Node};
use crate::config::{Config, TcHook};
use crate::datapath::{self, causes};
use crate::session::Cgroups;

/// The oldest kernel that Cotter is tested with.
const OLDEST: (u32, u32) = (6, 1);

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let release = rustix::system::uname();
    let mut findings = vec![version(&release.release().to_string_lossy()), btf()];
    if node.is_open() {
        findings.extend(datapath::try_programs().into_iter().map(program));
        let wants_tcx = node.config.as_ref().is_ok_and(|config: &Config| config.tc_hook == TcHook::Tcx);
        findings.push(tcx(datapath::has_tcx(), wants_tcx));
        findings.push(sock_destroy(&destroyed()));
    }
    findings.extend([cgroup2(), ptrace()]);
    findings
}

fn version(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => {
            Finding::ok("kernel-version", format!("Linux {release}"))
        }
        _older => Finding::warning(
            "kernel-version",
            format!("Linux {release} is older than any that Cotter is tested with"),
            "boot Linux 6.1 or later",
        ),
    }
}

fn btf() -> Finding {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Finding::ok("btf", "the kernel describes its types (BTF)");
    }
    Finding::error(
        "btf",
        "the kernel has no BTF: closing sockets cannot be followed, and the agent does not start",
        "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build it",
    )
}

/// Whether the kernel takes one of the agent's programs.
fn program((kind, tried): (datapath::ProgramKind, Result<(), datapath::Error>)) -> Finding {
    let (id, name) = match kind {
        datapath::ProgramKind::Xdp => ("xdp", "XDP"),
        datapath::ProgramKind::Tc => ("tc", "TC"),
        datapath::ProgramKind::Close => ("close-tracepoint", "the tracepoint of closing sockets"),
        datapath::ProgramKind::Endpoints => ("endpoint-programs", "the sessions' cgroup"),
    };
    match tried {
        Ok(()) => Finding::ok(id, format!("the kernel takes the program for {name}")),
        Err(error) => Finding::error(
            id,
            format!("the kernel does not take the program for {name}: {}", causes(&error)),
            "boot Linux 6.1 or later, built as distributions build it",
        ),
    }
}

fn tcx(has: io::Result<bool>, wanted: bool) -> Finding {
    match (has, wanted) {
        (Ok(true), _) => Finding::ok("tcx", "the kernel has TCX"),
        (Ok(false), false) => {
            Finding::ok("tcx", "the kernel has no TCX, which came with Linux 6.6; clsact takes its place")
        }
        (Ok(false), true) => Finding::error(
            "tcx",
            "tc_hook = \"tcx\" needs Linux 6.6: this kernel has no TCX",
            "set tc_hook = \"auto\", which takes clsact here",
        ),
        (Err(error), _) => Finding::warning(
            "tcx",
            format!("whether there is TCX cannot be told: {error}"),
            "set tc_hook = \"clsact\"",
        ),
    }
}

/// Has the kernel destroy a connection of the doctor's own.
fn destroyed() -> Result<Ended, String> {
    let connection = || -> io::Result<_> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, peer) = listener.accept()?;
        let (local, cookie) = (server.local_addr()?, socket_cookie(&server)?);
        Ok(((client, server), destroy_flow(local, peer, cookie)))
    };
    match connection() {
        Ok((_open, Ok(ended))) => Ok(ended),
        Ok((_open, Err(DestroyError::Unsupported))) => Err("it is built without it".to_owned()),
        Ok((_open, Err(error))) => Err(error.to_string()),
        Err(error) => Err(format!("it could not be tried on loopback: {error}")),
    }
}

fn sock_destroy(tried: &Result<Ended, String>) -> Finding {
    let why = match tried {
        Ok(Ended::Destroyed) => {
            return Finding::ok("sock-destroy", "the kernel ends connections when told to");
        }
        Ok(Ended::Gone | Ended::ShutDown) => "it does not find them (module tcp_diag)",
        Err(why) => why,
    };
    Finding::warning(
        "sock-destroy",
        format!("the kernel does not end connections: {why}; those of cut sessions fall silent instead"),
        "boot a kernel with CONFIG_INET_DIAG_DESTROY=y, as distributions build it",
    )
}

fn cgroup2() -> Finding {
    match Cgroups::find() {
        Ok(_) => Finding::ok("cgroup2", "cgroup2 is mounted"),
        Err(error) => Finding::warning(
            "cgroup2",
            format!("{error}: sessions end with their connection"),
            "mount cgroup2, as systemd does",
        ),
    }
}

fn ptrace() -> Finding {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if scope.trim() == "3" {
        return Finding::error(
            "ptrace-scope",
            "kernel.yama.ptrace_scope is 3: the connection of a login cannot be found",
            "set it to 2 or less; 3 can only be left by a reboot",
        );
    }
    Finding::ok("ptrace-scope", "connections of sshd's processes can be found")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn versions_are_compared_as_numbers() {
        let level = |release| version(release).level;
        for release in ["6.1", "6.1.0-28-cloud-amd64", "6.18.44", "10.0"] {
            assert_eq!(level(release), Level::Ok, "{release}");
        }
        for release in ["6.0.9", "5.19", "", "unknown"] {
            assert_eq!(level(release), Level::Warning, "{release}");
        }
    }

    #[test]
    fn without_tcx_clsact_takes_its_place_unless_tcx_is_insisted_on() {
        assert_eq!(tcx(Ok(false), false).level, Level::Ok);
        assert!(tcx(Ok(false), true).what.contains("needs Linux 6.6"));
        assert_eq!(tcx(Ok(false), true).level, Level::Error);
        assert_eq!(tcx(Ok(true), true).level, Level::Ok);
        assert_eq!(tcx(Err(io::ErrorKind::PermissionDenied.into()), false).level, Level::Warning);
    }

    #[test]
    fn a_kernel_that_does_not_end_connections_is_told() {
        assert_eq!(sock_destroy(&Ok(Ended::Destroyed)).level, Level::Ok);
        assert_eq!(sock_destroy(&Ok(Ended::Gone)).level, Level::Warning);
        assert_eq!(sock_destroy(&Err("why".into())).level, Level::Warning);
    }
}
