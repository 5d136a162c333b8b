//! Who gets in from where, with which certificate; what the audit log says of it.

use std::process::Stdio;

use anyhow::Result;
use lab::{AgentSetup, Ca, Lab, Login, NODE_V6, Order, SshdSetup, eventually, within};

use crate::scene::{AT_ALICE, AT_ELSEWHERE, ENDING, OPEN, PINNING, Scene};

#[test]
fn a_pinned_certificate_logs_in_from_its_address_and_its_session_is_known() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let listed = scene.session_of("alice")?;
    assert_eq!(listed["cluster"], "example.com");
    assert_eq!(listed["user"], "alice");
    assert_eq!(listed["pinned"], serde_json::json!([AT_ALICE]));
    assert_eq!(listed["observed"], "198.51.111.1");
    assert_eq!(listed["state"], "live");
    let id = listed["id"].clone();
    scene
        .agent
        .event("session opened", |event| event["event"] == "session_opened" && event["session"] == id)?;
    session.hang_up()?;
    scene
        .agent
        .event("session closed", |event| event["event"] == "session_closed" && event["session"] == id)?;
    scene.deserted()
}

#[test]
fn the_same_certificate_is_refused_from_elsewhere_and_the_log_says_why() -> Result<()> {
    let scene = Scene::enforcing()?;
    let stolen = scene.alice()?;
    let event = scene.refused(&scene.at_elsewhere(&stolen), "pin_mismatch")?;
    assert_eq!(event["pinned"], serde_json::json!([AT_ALICE]));
    assert_eq!(event["observed"], "198.51.222.2");
    assert_eq!(event["user"], "alice");
    assert_eq!(scene.sessions()?.len(), 0);
    assert_eq!(scene.at_alice(&stolen).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_certificate_without_a_pin_is_refused_where_a_role_pins() -> Result<()> {
    let scene = Scene::enforcing()?;
    let unpinned =
        scene.ca.issue("alice", &Order { options: &[PINNING], ..Order::login("alice", &["alice"]) })?;
    scene.refused(&scene.at_alice(&unpinned), "pin_missing")?;
    let open = scene.bob()?;
    assert_eq!(scene.at_alice(&open).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn a_pin_that_is_no_pin_satisfies_no_role() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let wide = scene.ca.issue("alice", &order.pinned("0.0.0.0/0"))?;
    scene.refused(&scene.at_alice(&wide), "pin_too_wide").map(drop)
}

#[test]
fn a_voluntary_pin_binds_also_where_no_role_asks_for_it() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[OPEN], ..Order::login("alice", &["alice"]) };
    let pinned = scene.ca.issue("alice", &order.pinned("198.51.111.0/24"))?;
    assert_eq!(scene.at_alice(&pinned).succeed("echo in")?, "in\n");
    scene.refused(&scene.at_elsewhere(&pinned), "pin_mismatch").map(drop)
}

#[test]
fn one_pin_a_family_serves_ipv4_and_ipv6() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let both = scene.ca.issue("alice", &order.pinned("198.51.111.1/32,2001:db8:111::1/128"))?;
    assert_eq!(scene.at_alice(&both).succeed("echo in")?, "in\n");
    let mut session = scene.at_alice(&both).to(NODE_V6.into()).stay()?;
    eventually("the IPv6 session is listed", || {
        Ok(scene.sessions()?.iter().any(|session| session["observed"] == "2001:db8:111::1").then_some(()))
    })?;
    session.hang_up()?;
    scene.refused(&scene.at_elsewhere(&both).to(NODE_V6.into()), "pin_mismatch").map(drop)
}

/// Logs in with a certificate of each order; each must be refused for its reason. No more than five at a time: the log
/// sums up what comes beyond that from one source.
fn each_is_refused(orders: &[(&str, Order<'_>)]) -> Result<()> {
    let scene = Scene::enforcing()?;
    for (reason, order) in orders {
        let identity = scene.ca.issue(reason, order)?;
        scene.refused(&scene.at_alice(&identity), reason)?;
    }
    Ok(())
}

#[test]
fn certificates_out_of_time_or_for_others_are_refused_each_with_its_reason() -> Result<()> {
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) }.pinned(AT_ALICE);
    each_is_refused(&[
        ("certificate_expired", Order { validity: "-2h:-1h", ..order }),
        ("certificate_not_yet_valid", Order { validity: "+1h:+2h", ..order }),
        ("principal_not_allowed", Order { principals: &["carol"], ..order }),
    ])
}

#[test]
fn certificates_that_say_what_is_not_understood_are_refused_each_with_its_reason() -> Result<()> {
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) }.pinned(AT_ALICE);
    let unknown_role = ["extension:roles@cotter=[\"nobody-knows\"]"];
    let unknown_option = [PINNING, "critical:surprise@example.com=1"];
    each_is_refused(&[
        ("role_unknown", Order { options: &unknown_role, ..order }),
        ("no_roles", Order { options: &[], ..order }),
        ("critical_option_unknown", Order { options: &unknown_option, ..order }),
    ])
}

#[test]
fn a_role_that_only_tries_lets_nobody_in_beside_one_that_nobody_knows() -> Result<()> {
    let scene = Scene::new("enforce", |agent| agent.role("tries", &["mode: audit"]), |sshd| sshd)?;
    let order = Order::login("alice", &["alice"]).pinned(AT_ALICE);
    let tries = Order { options: &["extension:roles@cotter=[\"tries\"]"], ..order };
    scene.at_alice(&scene.ca.issue("tries", &tries)?).succeed("true")?;
    let both = Order { options: &["extension:roles@cotter=[\"tries\",\"nobody-knows\"]"], ..order };
    scene.refused(&scene.at_alice(&scene.ca.issue("both", &both)?), "role_unknown").map(drop)
}

#[test]
fn a_trusted_clusters_certificate_counts_by_its_mapped_roles_only() -> Result<()> {
    let lab = Lab::start()?;
    let (leaf, root) = (Ca::new(lab.node(), "leaf")?, Ca::new(lab.node(), "root")?);
    let map = "roles_from = \"cotter\"\nrole_map = [{ remote = \"dev-*\", local = [\"pinned-$1\"] }]";
    let agent = AgentSetup::new("enforce")
        .cluster("example.com", &leaf, "roles_from = \"cotter\"")?
        .trusted_cluster("root.example.com", &root, map)?
        .role("pinned-ip", &["pin_source_ip: true"])
        .start(&lab)?;
    let _sshd = SshdSetup::with_cotter(&leaf)?.and(&root)?.start(&lab)?;
    let order =
        Order { options: &[r#"extension:roles@cotter=["dev-ip"]"#], ..Order::login("alice", &["alice"]) };
    let unpinned = root.issue("unpinned", &order)?;
    assert_eq!(Login::new(&lab.alice(), &unpinned, "alice").run("echo in")?.status.code(), Some(255));
    agent.event("denial", |event| {
        event["reason"] == "pin_missing" && event["cluster"] == "root.example.com"
    })?;
    let pinned = root.issue("pinned", &order.pinned(AT_ALICE))?;
    assert_eq!(Login::new(&lab.alice(), &pinned, "alice").succeed("echo in")?, "in\n");
    // Its own roles mean nothing here, not even those of the same name.
    let named = Order { options: &[PINNING], ..order };
    let unmapped = root.issue("unmapped", &named.pinned(AT_ALICE))?;
    assert_eq!(Login::new(&lab.alice(), &unmapped, "alice").run("echo in")?.status.code(), Some(255));
    agent.event("denial", |event| event["reason"] == "no_roles").map(drop)
}

#[test]
fn logins_without_a_certificate_follow_the_configuration() -> Result<()> {
    let keys = "AuthorizedKeysFile /etc/cotter/break-glass.keys /etc/other.keys";
    let scene = Scene::new("enforce", |agent| agent.line("other_logins = \"deny\""), |sshd| sshd.line(keys))?;
    let node = scene.lab.node();
    let plain = lab::Identity::plain(node, "/root/plain")?;
    node.write("/etc/other.keys", &node.read(plain.public())?)?;
    scene.refused_a_session(&scene.at_alice(&plain), "no_certificate")?;
    let key = scene.break_glass()?;
    assert_eq!(scene.at_alice(&key).succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn the_session_hook_judges_again_and_ends_a_connection_without_command() -> Result<()> {
    // sshd itself accepts the certificate, without asking at step one.
    let any = "Match User alice\nAuthorizedPrincipalsCommand /usr/bin/echo %u";
    let scene = Scene::new("enforce", |agent| agent, |sshd| sshd.last_line(any))?;
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    let unpinned = scene.ca.issue("alice", &order)?;
    assert_eq!(scene.refused_a_session(&scene.at_alice(&unpinned), "pin_missing")?["step"], "session");
    let mark = scene.agent.mark()?;
    let mut tunnel = scene.at_alice(&unpinned).connect_only()?;
    eventually("ssh -N ends", || Ok(tunnel.try_wait()?))?;
    scene.denial_since(mark, "pin_missing").map(drop)
}

#[test]
fn who_has_proven_the_key_is_told_why_the_login_is_refused_and_who_has_not_is_told_nothing() -> Result<()> {
    let keys = "AuthorizedKeysFile /etc/other.keys";
    let mut scene =
        Scene::new("enforce", |agent| agent.line("other_logins = \"deny\""), |sshd| sshd.line(keys))?;
    let node = scene.lab.node();
    let plain = lab::Identity::plain(node, "/root/plain")?;
    node.write("/etc/other.keys", &node.read(plain.public())?)?;
    let login = scene.at_alice(&plain);
    let refusal = "cotter: no_certificate: ";
    for (login, end) in [(login.clone(), "\n"), (login.clone().option("-tt"), "\r\n")] {
        let output = login.run("echo in")?;
        let said = String::from_utf8(output.stdout)?;
        assert_eq!(output.status.code(), Some(254), "{said}");
        assert!(said.starts_with(refusal) && said.ends_with(end) && said.lines().count() == 1, "{said:?}");
    }
    let stolen = scene.alice()?;
    let before = scene.at_elsewhere(&stolen).run("echo in")?;
    assert_eq!(before.stdout, b"");
    assert_eq!(before.stderr, b"alice@198.51.100.10: Permission denied (publickey).\r\n");
    scene.agent.kill9()?;
    let output = login.run("echo in")?;
    let said = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(254), "{said}");
    assert!(said.starts_with("cotter: this node cannot check logins at the moment"), "{said:?}");
    Ok(())
}

#[test]
fn every_kind_of_login_has_its_session() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    let mut tunnel = scene.at_alice(&alice).connect_only()?;
    let listed = scene.session_of("alice")?;
    assert_eq!(listed["state"], "live");
    tunnel.kill()?;
    tunnel.wait()?;
    scene.deserted()?;
    let terminal = scene.at_alice(&alice).option("-tt").run("tty")?;
    assert!(String::from_utf8_lossy(&terminal.stdout).contains("/dev/pts/"), "{terminal:?}");
    let mut sftp = lab::Place::command("sftp");
    sftp.args(["-q", "-b", "-", "-i", &alice.key, "alice@198.51.100.10"]).stdin(Stdio::null());
    assert!(scene.lab.alice().output(&mut sftp)?.status.success());
    scene.deserted()
}

#[test]
fn logins_beside_each_other_get_sessions_of_their_own() -> Result<()> {
    let scene = Scene::enforcing()?;
    let order = Order { options: &[ENDING], ..Order::login("alice", &["alice"]) };
    let here = scene.alice()?;
    scene.lab.node().run("mkdir", &["-p", "/root/example/else"])?;
    let there = scene.ca.issue("else/alice", &order.pinned(AT_ELSEWHERE))?;
    let sessions: Vec<_> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..6)
            .map(|n| if n % 2 == 0 { scene.at_alice(&here) } else { scene.at_elsewhere(&there) })
            .map(|login| scope.spawn(move || login.stay()))
            .collect();
        logins.into_iter().map(|login| login.join().expect("no panic")).collect::<Result<_>>()
    })?;
    let listed = scene.sessions()?;
    let ids: std::collections::HashSet<_> =
        listed.iter().filter_map(|session| session["id"].as_str()).collect();
    assert_eq!(ids.len(), 6);
    drop(sessions);
    within(std::time::Duration::from_secs(60), "all of them are closed", || {
        Ok(scene.sessions()?.is_empty().then_some(()))
    })
}
