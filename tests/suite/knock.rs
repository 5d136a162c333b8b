//! Knocks: who proves, unanswered and in one message, that they may log in is let in, and nobody else is.

/// What of it holds where the agent's unit keeps it off the network.
mod by_unit;
/// What a knock opens.
mod dark;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cotter_knock::{Fingerprint, FleetSecret, Packed};
use lab::{Identity, Knocker, Lab, Order, Place, eventually};
use serde_json::Value;

use crate::metrics::{sample, scrape};
use crate::scene::{AT_ALICE, PINNING, Scene};

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A node that is knocked at, with more in its `[knock]`.
fn knocked_at(rest: &str) -> Result<Scene> {
    in_lab(Lab::start()?, rest)
}

fn in_lab(lab: Lab, rest: &str) -> Result<Scene> {
    let knock = Knocker::heard(lab.node(), rest)?;
    Scene::in_lab(lab, "enforce", |agent| agent.last(&knock), |sshd| sshd)
}

/// One at which a knock needs a MAC.
fn with_secret() -> Result<Scene> {
    let lab = Lab::start()?;
    lab.node().write("/etc/cotter/knock.secret", SECRET)?;
    lab.node().run("chmod", &["600", "/etc/cotter/knock.secret"])?;
    in_lab(lab, "secret = \"/etc/cotter/knock.secret\"")
}

fn alice(scene: &Scene) -> Result<Knocker> {
    Knocker::new(&scene.lab.alice(), &scene.alice()?)
}

/// How many knocks were refused for this reason.
fn refused(scene: &Scene, reason: &str) -> Result<f64> {
    sample(&scrape(scene)?, &format!("cotter_knocks_total{{outcome=\"refused\",reason=\"{reason}\"}}"))
}

/// Sends what must be refused for this reason, without a word to anybody.
fn refuses(scene: &Scene, knocker: &Knocker, knock: &Packed, reason: &str) -> Result<()> {
    let before = refused(scene, reason)?;
    knocker.send(knock)?;
    eventually(&format!("refused as {reason}"), || Ok((refused(scene, reason)? > before).then_some(())))
}

/// Sends it, and gives the event of its being accepted.
fn accepts(scene: &Scene, knocker: &Knocker, knock: &Packed) -> Result<Value> {
    let mark = scene.agent.mark()?;
    knocker.send(knock)?;
    scene.agent.event_since(mark, "a knock is accepted", |event| event["event"] == "knock_accepted")
}

/// Waits for the event of a knock's refusal for this reason.
fn refusal(scene: &Scene, reason: &str) -> Result<Value> {
    let fits = |event: &Value| event["event"] == "knock_refused" && event["reason"] == reason;
    scene.agent.event(&format!("refusal as {reason}"), fits)
}

#[test]
fn a_good_knock_is_accepted_and_told_with_whose_it_is() -> Result<()> {
    let scene = knocked_at("")?;
    let alice = alice(&scene)?;
    let event = accepts(&scene, &alice, &alice.knock()?)?;
    assert_eq!((&event["user"], &event["cluster"]), (&"alice".into(), &"example.com".into()));
    assert_eq!((&event["observed"], &event["serial"]), (&"198.51.111.1".into(), &1.into()));
    assert_eq!((&event["seconds"], &event["login"]), (&120.into(), &Value::Null));
    let status = scene.agent.json(&["status"])?;
    assert_eq!((&status["knocks"]["accepted"], &status["knocks"]["refused"]), (&1.into(), &0.into()));
    assert!(scene.agent.told(&["status"])?.contains("at UDP port 4022: 1 accepted, 0 refused"));
    Ok(())
}

#[test]
fn what_is_no_knock_here_or_now_is_counted_and_no_more() -> Result<()> {
    let scene = knocked_at("")?;
    let alice = alice(&scene)?;
    let (now, long) = (SystemTime::now(), Duration::from_secs(60));
    refuses(&scene, &alice, &alice.made(now, Fingerprint([7; 32]), None)?, "other_node")?;
    refuses(&scene, &alice, &alice.made(now + long, alice.node(), None)?, "early")?;
    refuses(&scene, &alice, &alice.made(now - long, alice.node(), None)?, "late")?;
    // What does not even begin as a knock, the kernel drops.
    alice.send_bytes(b"GET / HTTP/1.1\r\n\r\n")?;
    alice.send_bytes(b"ctknock\x01, rubbish")?;
    eventually("rubbish is counted", || Ok((refused(&scene, "malformed")? == 1.0).then_some(())))?;
    assert!(scene.agent.events()?.iter().all(|event| event["event"] != "knock_refused"));
    assert_eq!(scene.agent.json(&["status"])?["knocks"]["refused"], 4);
    Ok(())
}

#[test]
fn a_knock_opens_once_also_to_an_agent_that_takes_over() -> Result<()> {
    let mut scene = knocked_at("")?;
    let alice = alice(&scene)?;
    let knock = alice.knock()?;
    let unsent = alice.knock()?;
    accepts(&scene, &alice, &knock)?;
    refuses(&scene, &alice, &knock, "replayed")?;
    // Her clock is ahead: it is later than the next agent's start.
    let ahead = SystemTime::now() + Duration::from_secs(20);
    let of_later = alice.made(ahead, alice.node(), None)?;
    accepts(&scene, &alice, &of_later)?;
    scene.agent.kill9()?;
    scene.agent.start()?;
    refuses(&scene, &alice, &of_later, "late")?;
    refuses(&scene, &alice, &unsent, "late")?;
    accepts(&scene, &alice, &alice.made(ahead + Duration::from_secs(1), alice.node(), None)?)?;
    Ok(())
}

#[test]
fn where_there_is_a_secret_knocks_need_the_mac_of_their_certificate() -> Result<()> {
    let scene = with_secret()?;
    let alice = alice(&scene)?;
    let bob = Knocker::new(&scene.lab.alice(), &scene.bob()?)?;
    let fleet: FleetSecret = SECRET.parse()?;
    let made = |knocker: &Knocker, certificate: &[u8]| {
        knocker.made(SystemTime::now(), knocker.node(), Some(&fleet.key_for(certificate)))
    };
    refuses(&scene, &alice, &alice.knock()?, "no_mac")?;
    refuses(&scene, &alice, &made(&alice, bob.certificate())?, "wrong_mac")?;
    accepts(&scene, &alice, &made(&alice, alice.certificate())?)?;
    Ok(())
}

#[test]
fn a_certificate_knocks_from_where_it_is_pinned() -> Result<()> {
    let scene = knocked_at("")?;
    let thief = alice(&scene)?.at(&scene.lab.elsewhere());
    refuses(&scene, &thief, &thief.knock()?, "pin_mismatch")?;
    let event = refusal(&scene, "pin_mismatch")?;
    assert_eq!((&event["user"], &event["observed"]), (&"alice".into(), &"198.51.222.2".into()));
    Ok(())
}

#[test]
fn who_may_not_log_in_may_not_knock() -> Result<()> {
    let scene = knocked_at("")?;
    let alice = alice(&scene)?;
    scene.agent.told(&["lock", "--user", "example.com/alice"])?;
    refuses(&scene, &alice, &alice.knock()?, "locked")?;
    assert_eq!(refusal(&scene, "locked")?["user"], "alice");
    let order = Order { options: &[PINNING], validity: "-2h:-1h", ..Order::login("late", &["alice"]) };
    let expired = scene.ca.issue("late", &order.pinned(AT_ALICE))?;
    let expired = Knocker::new(&scene.lab.alice(), &expired)?;
    refuses(&scene, &expired, &expired.knock()?, "certificate_expired")?;
    let stranger = lab::Ca::new(scene.lab.node(), "stranger")?;
    let stranger = stranger.issue("alice", &Order::login("alice", &["alice"]).pinned(AT_ALICE))?;
    let stranger = Knocker::new(&scene.lab.alice(), &stranger)?;
    refuses(&scene, &stranger, &stranger.knock()?, "ca_untrusted")?;
    let told =
        |reason: &str| scene.agent.events().map(|all| all.iter().any(|event| event["reason"] == reason));
    assert!(told("certificate_expired")? && !told("ca_untrusted")?);
    Ok(())
}

#[test]
fn without_the_key_a_certificate_is_no_knock() -> Result<()> {
    let scene = knocked_at("")?;
    let alice = alice(&scene)?;
    let mut bytes = alice.knock()?.bytes().to_vec();
    // Of the signature, that stands before the 32 bytes of the MAC.
    let last = bytes.len() - 33;
    bytes[last] ^= 1;
    alice.send_bytes(&bytes)?;
    assert_eq!(refusal(&scene, "unproven")?["user"], "alice");
    Ok(())
}

#[test]
fn whatever_floods_the_port_logins_go_on() -> Result<()> {
    let scene = knocked_at("")?;
    let (identity, over) = (scene.alice()?, AtomicBool::new(false));
    let alice = Knocker::new(&scene.lab.alice(), &identity)?;
    let flood = |place: &Place| -> Result<u64> {
        let rubbish = alice.made(SystemTime::now(), alice.node(), None)?.bytes().to_vec();
        place.enter(|| -> Result<u64> {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((lab::NODE_V4, 4022))?;
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                // Half of it has the shape of a knock, and a certificate that was never signed.
                let mut bytes = rubbish.clone();
                bytes[100 + (sent % 64) as usize] ^= 1;
                let _full = socket.send(if sent % 2 == 0 { &bytes } else { b"rubbish" });
                sent += 1;
            }
            Ok(sent)
        })?
    };
    std::thread::scope(|scope| {
        let place = scene.lab.elsewhere();
        let flooding = scope.spawn(move || flood(&place));
        let logged_in = (0..3).try_for_each(|_| {
            anyhow::ensure!(scene.at_alice(&identity).succeed("echo in")? == "in\n");
            scene.agent.json(&["status"]).map(drop)
        });
        over.store(true, Ordering::Relaxed);
        let sent = flooding.join().expect("no panic")?;
        logged_in?;
        assert!(sent > 10_000, "only {sent} datagrams");
        anyhow::Ok(())
    })?;
    // Who knocks as often as a client does is heard when it is over.
    eventually("alice is heard", || {
        alice.send(&alice.knock()?)?;
        Ok(scene.agent.events()?.into_iter().find(|event| event["event"] == "knock_accepted"))
    })?;
    let lines = scene.agent.events()?.iter().filter(|event| event["event"] == "knock_refused").count();
    assert!(lines <= 10, "{lines} refusals of one source were told one by one");
    Ok(())
}

/// Sends it over TCP, and waits until the node has hung up without a word.
fn over_tcp(mut stream: TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    match stream.read_to_end(&mut answer) {
        // Some of it was not even read.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        read => drop(read?),
    }
    assert_eq!(answer, b"");
    Ok(())
}

#[test]
fn tcp_is_answered_where_that_is_asked_for() -> Result<()> {
    let silent = knocked_at("")?;
    assert!(alice(&silent)?.connect()?.is_none(), "something answers");
    let scene = knocked_at("tcp = true")?;
    let large = large(&scene)?;
    let alice = Knocker::new(&scene.lab.alice(), &large)?;
    let knock = alice.knock()?;
    assert_eq!(knock.datagram(), None, "it would have gone in a datagram");
    over_tcp(alice.connect()?.context("nothing answers")?, &knock.framed())?;
    let accepted = |event: &Value| event["event"] == "knock_accepted";
    assert_eq!(scene.agent.event("the knock is accepted", accepted)?["user"], "alice");
    over_tcp(alice.connect()?.context("nothing answers")?, b"\xff\xff rubbish")?;
    // Whoever says nothing is hung up on, and does not keep others waiting meanwhile.
    let mut silent = alice.connect()?.context("nothing answers")?;
    over_tcp(alice.connect()?.context("nothing answers")?, &alice.knock()?.framed())?;
    silent.set_read_timeout(Some(Duration::from_secs(30)))?;
    assert_eq!(silent.read(&mut [0; 1])?, 0);
    eventually("the second knock is accepted", || {
        Ok((scene.agent.json(&["status"])?["knocks"]["accepted"] == 2).then_some(()))
    })
}

/// Alice's certificate with as much in it as does not go in a datagram.
fn large(scene: &Scene) -> Result<Identity> {
    let padding = format!("extension:padding@example.com={}", "x".repeat(1000));
    let order = Order { options: &[PINNING, &padding], ..Order::login("alice", &["alice"]) };
    scene.ca.issue("alice", &order.pinned(AT_ALICE))
}

#[test]
fn a_reload_takes_up_what_it_can_and_says_what_it_cannot() -> Result<()> {
    let scene = knocked_at("")?;
    let config = scene.lab.node().read("/etc/cotter/agent.toml")?;
    let reload = |config: &str| -> Result<Value> {
        let mark = scene.agent.mark()?;
        scene.lab.node().write("/etc/cotter/agent.toml", config)?;
        scene.agent.signal(rustix::process::Signal::HUP)?;
        let over = |event: &Value| event["event"] == "reloaded" || event["event"] == "reload_failed";
        scene.agent.event_since(mark, "a reload", over)
    };
    let moved = reload(&config.replace("port = 4022", "port = 4023"))?;
    assert!(moved["error"].as_str().is_some_and(|error| error.contains("[knock] port")), "{moved}");
    scene.lab.node().write("/etc/cotter/knock.secret", SECRET)?;
    let with_secret = config.replace("port = 4022", "port = 4022\nsecret = \"/etc/cotter/knock.secret\"");
    let readable = reload(&with_secret)?;
    assert!(readable["error"].as_str().is_some_and(|error| error.contains("chmod 600")), "{readable}");
    scene.lab.node().run("chmod", &["600", "/etc/cotter/knock.secret"])?;
    assert_eq!(reload(&with_secret)?["event"], "reloaded");
    let alice = alice(&scene)?;
    refuses(&scene, &alice, &alice.knock()?, "no_mac")
}
