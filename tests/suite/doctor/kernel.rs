//! What the kernel lacks, or keeps from the doctor.

use anyhow::Result;
use lab::Place;
use lab::kernel::has_tcx;

use super::{findings, findings_of, findings_tampered, right, shell};

#[test]
fn a_kernel_that_is_too_old() -> Result<()> {
    let scene = right(|agent| agent)?;
    let found = findings_of(scene.lab.node(), &["setarch", "--uname-2.6"], &[])?;
    found.have("kernel-version", "warning", "is older than any that Cotter is tested with");
    Ok(())
}

#[test]
fn without_types_sockets_cannot_be_followed() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "mount -t tmpfs none /sys/kernel/btf")?;
    let found = findings(&scene)?;
    found.have("btf", "error", "CONFIG_DEBUG_INFO_BTF");
    found.have("close-tracepoint", "error", "/sys/kernel/btf/vmlinux");
    Ok(())
}

/// A kernel that knows nothing of what bpf(2) is asked for answers EINVAL, TCX's queries included.
#[test]
fn a_kernel_that_takes_none_of_the_programs() -> Result<()> {
    let scene = right(|agent| agent)?;
    let found = findings_tampered(&scene, "bpf", "error=EINVAL")?;
    for id in ["xdp", "tc", "close-tracepoint"] {
        found.have(id, "error", "the kernel does not take");
    }
    found.have("tcx", "ok", "clsact takes its place");
    let found = findings_tampered(&scene, "bpf", "error=EPERM")?;
    found.have("tcx", "warning", "cannot be told");
    shell(&scene, "sed -i '1i tc_hook = \"tcx\"' /etc/cotter/agent.toml")?;
    let found = findings_tampered(&scene, "bpf", "error=EINVAL")?;
    found.have("tcx", "error", "tc_hook = \\\"tcx\\\" needs Linux 6.6");
    let level = if has_tcx()? { "ok" } else { "error" };
    findings(&scene)?.have("tcx", level, "TCX");
    Ok(())
}

#[test]
fn a_kernel_that_neither_ends_sockets_nor_lists_interfaces() -> Result<()> {
    let scene = right(|agent| agent)?;
    let found = findings_tampered(&scene, "sendto", "error=EOPNOTSUPP")?;
    found.have("sock-destroy", "warning", "CONFIG_INET_DIAG_DESTROY");
    found.have("interfaces", "error", "cannot be listed");
    Ok(())
}

#[test]
fn file_systems_of_the_kernels_that_are_missing() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "chmod 755 /sys/fs/bpf/cotter")?;
    findings(&scene)?.have("pin-directory", "error", "has mode 0755");
    shell(&scene, "chmod 700 /sys/fs/bpf/cotter; rm -r /sys/fs/bpf/cotter/v*")?;
    findings(&scene)?.have("pin-directory", "error", "somebody has removed them");
    shell(&scene, "mount -t tmpfs none /sys/fs/bpf; umount --lazy --recursive /sys/fs/cgroup")?;
    let found = findings(&scene)?;
    found.have("bpffs", "error", "mount -t bpf");
    found.have("cgroup2", "warning", "sessions end with their connection");
    Ok(())
}

#[test]
fn a_kernel_that_lets_nobody_trace() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(
        &scene,
        "mount -t tmpfs none /proc/sys/kernel; mkdir /proc/sys/kernel/yama; echo 3 >/proc/sys/kernel/yama/ptrace_scope",
    )?;
    findings(&scene)?.have("ptrace-scope", "error", "left by a reboot");
    Ok(())
}

#[test]
fn a_clock_that_nobody_keeps() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "rm /run/systemd/timesync/synchronized")?;
    // The kernel's words for a clock that nobody keeps, TIME_ERROR, and for one that somebody does, TIME_OK.
    let calls = "adjtimex,clock_adjtime";
    findings_tampered(&scene, calls, "retval=5")?.have("clock", "warning", "run systemd-timesyncd or chrony");
    findings_tampered(&scene, calls, "retval=0")?.have("clock", "ok", "synchronised");
    Ok(())
}

#[test]
fn a_doctor_who_may_not_look_says_so() -> Result<()> {
    let scene = right(|agent| agent)?;
    let node = scene.lab.node();
    let found = findings_of(node, &["setpriv", "--bounding-set=-bpf,-sys_ptrace", "--inh-caps=-all"], &[])?;
    found.have("caller", "warning", "what needs CAP_SYS_PTRACE, CAP_BPF is not looked at");
    found.have_none_of("xdp");
    found.have_none_of("mptcp");
    let found = findings_of(node, &["setpriv", "--reuid=4101", "--clear-groups"], &[])?;
    found.have("caller", "warning", "not root");
    found.have("agent", "error", "read_group");
    assert_eq!(found.troubles().len(), 2, "{:#?}", found.troubles());
    Ok(())
}

#[test]
fn an_agent_that_lacks_a_capability_or_is_not_to_be_seen() -> Result<()> {
    let mut scene = right(|agent| agent)?;
    let node = scene.lab.node().clone();
    findings_of(&node, &["unshare", "--pid", "--fork", "--mount-proc"], &[])?.have(
        "agent-capabilities",
        "warning",
        "not to be seen from here",
    );
    scene.agent.stop()?;
    let mut agent = Place::command("setpriv");
    agent.args(["--bounding-set=-sys_ptrace", "--inh-caps=-all", lab::AGENT, "run"]);
    let _agent = node.spawn(&mut agent)?;
    lab::eventually("it answers", || Ok(scene.agent.cli(&["status"])?.status.success().then_some(())))?;
    findings(&scene)?.have("agent-capabilities", "error", "lacks CAP_SYS_PTRACE");
    Ok(())
}
