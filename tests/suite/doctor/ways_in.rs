//! Ways in that pass the login ports by: other ports, rules of the firewall, multipath TCP.

use anyhow::Result;
use lab::{Lab, NODE_V4, Place, Process, eventually};

use super::{CONFIG, findings, right, right_in, shell, with_changed};
use crate::scene::Scene;

/// One more sshd, on port 2222, begun by these words.
fn second_sshd(scene: &Scene, words: &[&str]) -> Result<Process> {
    let sshd = ["/usr/sbin/sshd", "-D", "-e", "-p", "2222", "-f", "/etc/ssh/sshd_config"];
    let line = [words, &sshd].concat();
    let process = scene.lab.node().spawn(Place::command(line[0]).args(&line[1..]))?;
    listens(scene, 2222)?;
    Ok(process)
}

fn listens(scene: &Scene, port: u16) -> Result<()> {
    eventually("it listens", || {
        let listening = shell(scene, &format!("ss -Hltn 'sport = :{port}'"))?;
        Ok((!listening.is_empty()).then_some(()))
    })
}

#[test]
fn a_port_of_sshd_that_login_ports_lacks_and_one_that_it_has_too_many() -> Result<()> {
    let scene = right_in(Lab::start()?, |agent| agent, |sshd| sshd.line("GatewayPorts yes"))?;
    let sshd = "/etc/ssh/sshd_config";
    let found =
        with_changed(&scene, sshd, "", "ListenAddress 198.51.100.10:2200\nListenAddress 127.0.0.1:2201\n")?;
    found.have("login-port-missing", "error", "port 2200");
    assert!(!format!("{:?}", found.troubles()).contains("2201"), "{:#?}", found.troubles());
    let found = with_changed(&scene, CONFIG, "mode =", "login_ports = [22, 2200]\nmode =")?;
    found.have("login-port-idle", "warning", "port 2200");

    // What a session has sshd listen on is no way in to sshd.
    let login = scene.at_alice(&scene.alice()?).option("-R8080:127.0.0.1:1");
    let _forwarding = login.connect_only()?;
    listens(&scene, 8080)?;
    findings(&scene)?.have_none_of("login-port-missing");
    let _second = second_sshd(&scene, &[])?;
    findings(&scene)?.have("login-port-missing", "error", "port 2222");
    Ok(())
}

#[test]
fn rules_that_send_packets_to_a_login_port() -> Result<()> {
    const ID: &str = "redirected-port";
    let scene = right(|agent| agent)?;
    let chain =
        "nft add table ip to && nft 'add chain ip to here { type nat hook prerouting priority -100; }'";
    shell(&scene, chain)?;
    let rule =
        |rule: &str| shell(&scene, &format!("nft flush chain ip to here; nft 'add rule ip to here {rule}'"));
    shell(
        &scene,
        "nft 'add map ip to doors { type inet_service : inet_service; elements = { 2222 : 22 }; }'; \
         nft 'add map ip to inside { type inet_service : ipv4_addr . inet_service; elements = { 2222 : 198.51.44.3 . 22 }; }'; \
         nft 'add set ip to web { type inet_service; flags interval; elements = { 80, 8000-8080 }; }'",
    )?;
    for harmless in [
        "tcp dport 8080 redirect to :80",
        "tcp dport 2222 dnat to 198.51.44.3:22",
        "ip protocol tcp dnat ip to tcp dport map @inside",
        "tcp dport @web redirect",
        "tcp dport != 22 redirect",
    ] {
        rule(harmless)?;
        findings(&scene)?.have(ID, "ok", "");
    }
    for bypass in [
        "tcp dport 2222 redirect to :22",
        &format!("tcp dport {{ 2222, 2223 }} dnat to {NODE_V4}:22"),
        "ip protocol tcp redirect to :tcp dport map @doors",
        "tcp dport 2222 dnat to 198.51.100.1-198.51.100.99:20-25",
        "tcp dport 2222 tcp dport set 22",
    ] {
        rule(bypass)?;
        findings(&scene)?.have(ID, "error", "nft has a rule");
    }
    rule("tcp dport 2222 redirect to :numgen inc mod 4 offset 20")?;
    findings(&scene)?.have("firewall", "warning", "where a rule of nft sends others' packets cannot be told");
    shell(&scene, "nft delete table ip to")?;
    let (node_v4, node_v6) = ("198.51.100.10:22", "[2001:db8:100::10]:22");
    for (program, to) in [
        ("iptables", node_v4),
        ("ip6tables", node_v6),
        ("iptables-legacy", node_v4),
        ("ip6tables-legacy", node_v6),
    ] {
        let rule =
            format!("{program} -t nat -A PREROUTING -p tcp --dport 2222 -j DNAT --to-destination {to}");
        shell(&scene, &rule)?;
        findings(&scene)?.have(ID, "error", &format!("{program}-save has a rule"));
        shell(&scene, &format!("{program} -t nat -F"))?;
    }
    shell(&scene, "iptables -t nat -A PREROUTING -p tcp ! --dport 22 -j REDIRECT")?;
    findings(&scene)?.have(ID, "ok", "");
    shell(&scene, "iptables -t nat -F")?;
    findings(&scene)?.have(ID, "ok", "");
    shell(&scene, "mount --bind /bin/false /usr/sbin/nft")?;
    findings(&scene)?.have("firewall", "warning", "cannot be read");
    Ok(())
}

#[test]
fn an_sshd_that_takes_multipath_tcp() -> Result<()> {
    let scene = right(|agent| agent)?;
    let _second = second_sshd(&scene, &["mptcpize", "run"])?;
    findings(&scene)?.have("mptcp", "warning", "takes multipath TCP at 0.0.0.0:2222");
    Ok(())
}
