//! What is wrong with the agent, its configuration, its files and its interfaces.

use anyhow::Result;
use lab::{ALICE, ELSEWHERE, Lab, Place, Process, eventually};
use rustix::process::Signal;

use super::{CONFIG, findings, reloaded, right, right_in, shell, with_changed};

#[test]
fn a_configuration_that_does_not_load_or_is_not_in_force() -> Result<()> {
    let scene = right(|agent| agent)?;
    with_changed(&scene, CONFIG, "mode =", "modus =")?.have("configuration", "error", "agent.toml:1:1");
    let found = with_changed(&scene, CONFIG, "mode = \"enforce\"", "mode = \"audit\"")?;
    found.have("reload", "warning", "systemctl reload cotter-agent");

    let good = scene.lab.node().read(CONFIG)?;
    scene.lab.node().write(CONFIG, &good.replace("mode =", "modus ="))?;
    scene.agent.signal(Signal::HUP)?;
    scene.agent.event("refusal", |event| event["event"] == "reload_failed")?;
    scene.lab.node().write(CONFIG, &good.replace("\"enforce\"", "\"audit\""))?;
    findings(&scene)?.have("reload", "warning", "the latest reload was refused");
    let alone = good.split("[[cluster]]").next().unwrap_or_default();
    scene.lab.node().write(CONFIG, alone)?;
    findings(&scene)?.have("clusters", "warning", "names no cluster");
    Ok(())
}

#[test]
fn sockets_and_the_hooks_mode_that_are_not_the_agents() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "rm /run/cotter/admin.sock /run/cotter/metrics.sock")?;
    let found = findings(&scene)?;
    found.have("admin-socket", "error", "can neither be cut nor locked");
    found.have("metrics", "warning", "systemctl restart");
    shell(
        &scene,
        "echo 'metrics = \"127.0.0.1:9\"' | cat - /etc/cotter/agent.toml >/run/new; cp /run/new /etc/cotter/agent.toml",
    )?;
    findings(&scene)?.have("metrics", "warning", "free the port");
    shell(&scene, "echo mode audit >/run/cotter/mode")?;
    findings(&scene)?.have("mode-file", "error", "goes by mode audit, not enforce");
    shell(&scene, "rm /run/cotter/mode /var/lib/cotter/mode")?;
    findings(&scene)?.have("mode-file", "error", "no login passes");
    Ok(())
}

#[test]
fn sockets_that_take_no_connection_are_not_waited_for() -> Result<()> {
    // A listener that answers nobody, with as many in its queue as fit.
    const FULL: &str = "my @all; for (@ARGV) { unlink; my ($listener, $client); \
        socket($_, AF_UNIX, SOCK_STREAM, 0) or die for ($listener, $client); \
        bind($listener, sockaddr_un($_)) && listen($listener, 0) && connect($client, sockaddr_un($_)) or die; \
        push @all, $listener, $client; } open(my $ready, '>', '/run/full') or die; sleep";
    let scene = right(|agent| agent)?;
    let node = scene.lab.node();
    let full = |socket: &str| -> Result<Process> {
        shell(&scene, "rm -f /run/full")?;
        let listener = node.spawn(Place::command("perl").args(["-MSocket", "-e", FULL, socket]))?;
        eventually("it listens", || Ok(shell(&scene, "test -e /run/full").is_ok().then_some(())))?;
        Ok(listener)
    };
    let _metrics = full("/run/cotter/metrics.sock")?;
    findings(&scene)?.have("metrics", "warning", "took no connection within 2 s");
    let _admin = full("/run/cotter/admin.sock")?;
    findings(&scene)?.have("agent", "error", "took no connection within 10 s");
    Ok(())
}

#[test]
fn a_running_agent_that_is_not_the_installed_one() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "cd /usr/sbin; cp cotter-agent new; mv new cotter-agent")?;
    findings(&scene)?.have("restart", "warning", "systemctl restart cotter-agent");
    Ok(())
}

#[test]
fn directories_that_take_no_more_files() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(
        &scene,
        "mount -t tmpfs -o size=4k none /var/lib/cotter; head -c 4096 /dev/zero >/var/lib/cotter/full; \
         mount -t tmpfs -o ro none /var/log/cotter",
    )?;
    let found = findings(&scene)?;
    found.have("state-directory", "error", "No space left on device");
    found.have("event-log", "warning", "Read-only file system");
    Ok(())
}

#[test]
fn a_break_glass_file_that_does_not_help() -> Result<()> {
    let scene = right(|agent| agent)?;
    let keys = "/etc/cotter/break-glass.keys";
    shell(&scene, &format!("chmod 666 {keys}"))?;
    findings(&scene)?.have("break-glass", "warning", "is not believed");
    shell(&scene, &format!("chmod 644 {keys}; echo ssh-ed25519 AAAAgarbage >>{keys}"))?;
    findings(&scene)?.have(
        "break-glass",
        "warning",
        "of 2 keys in /etc/cotter/break-glass.keys 1 cannot be read",
    );
    shell(&scene, &format!("echo '# none' >{keys}"))?;
    findings(&scene)?.have("break-glass", "warning", "has no key");
    shell(&scene, &format!("rm {keys}"))?;
    findings(&scene)?.have("break-glass", "warning", "is not there");
    Ok(())
}

#[test]
fn interfaces_that_are_missing_taken_or_refused() -> Result<()> {
    let lab = Lab::start()?;
    lab.node().run("xdp-filter", &["load", "--mode", "native", ALICE.device])?;
    // A bridge has no XDP in its driver.
    lab.node().run("ip", &["link", "add", "blind", "type", "bridge"])?;
    let scene = right_in(lab, |agent| agent, |sshd| sshd)?;
    let found = findings(&scene)?;
    found.have("interface", "ok", &format!("{}: attached by xdp", ELSEWHERE.device));
    found.have("interface", "ok", "behind XDP program");
    found.have("interfaces-left-out", "ok", "eth-inside");
    let names = format!("[\"{}\", \"{}\"]", ALICE.device, ELSEWHERE.device);
    let more = format!("[\"{}\", \"blind\", \"gone\"]\nattach = \"xdp\"", ALICE.device);
    reloaded(&scene, &names, &more)?;
    let found = findings(&scene)?;
    found.have("interface-taken", "warning", "attach = \\\"auto\\\"");
    found.have("interface-not-covered", "error", "blind: ");
    found.have("interface-missing", "warning", "gone: no such interface");
    reloaded(&scene, &more, "[\"gone\"]")?;
    findings(&scene)?.have("interfaces", "error", "no interface is covered");
    Ok(())
}

#[test]
fn an_interface_on_which_others_come_first() -> Result<()> {
    let lab = Lab::start()?;
    lab.node().run("tc", &["qdisc", "add", "dev", ALICE.device, "clsact"])?;
    let filter = ["filter", "add", "dev", ALICE.device, "ingress", "pref", "1", "u32"];
    lab.node().run("tc", &[&filter[..], &["match", "u32", "0", "0", "classid", "1:1"]].concat())?;
    let scene = right_in(lab, |agent| agent.line("attach = \"tc\"\ntc_hook = \"clsact\""), |sshd| sshd)?;
    eventually("the agent has noticed", || {
        let status = scene.agent.json(&["status"])?;
        Ok(status["not_covered"].to_string().contains("\"behind\"").then_some(()))
    })?;
    findings(&scene)?.have("interface-overtaken", "warning", ALICE.device);
    Ok(())
}
