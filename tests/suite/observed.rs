//! Where a login comes from, through real balancers; and that nobody else has a say in it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    ALICE, Agent, AgentSetup, Answer, Authority, ELSEWHERE, Haproxy, Https, INSIDE, Identity, Lab, Login,
    NODE_V4, NODE_V6, Nginx, Place, Sshd, SshdSetup, Wire, eventually, until_closed,
};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
/// Where balancers are: on the host behind the node, and on the node.
const HOPS: &str = r#"trusted_proxies = ["198.51.44.3", "2001:db8:44::3", "198.51.100.0/24"]"#;
/// At which port.
const PORT: u16 = 9443;
/// Longest that a connection without its header is kept, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// An authority that is told by hops whom they forward.
struct Told {
    authority: Authority,
    lab: Lab,
}

impl Told {
    /// `lines` say how.
    fn by(lines: &str) -> Result<Self> {
        let lab = Lab::start()?;
        AgentSetup::new("enforce")
            .role("pinned-ip", &["pin_source_ip: true"])
            .role("open", &[])
            .write(&lab)?;
        let authority = Authority::start(&lab, &format!("{HOPS}\n{lines}\n"))?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        Ok(Self { authority, lab })
    }

    fn by_proxy_protocol() -> Result<Self> {
        Self::by("proxy_protocol = \"on\"")
    }

    fn by_forwarded_for() -> Result<Self> {
        Self::by("trust_x_forwarded_for = true")
    }

    /// A request that goes straight to the authority, on the wire's IPv4.
    fn straight<'a>(&'a self, from: &'a Place, before: &'a [u8], lines: &'a [&'a str]) -> Https<'a> {
        let to = self.authority.at(NODE_V4.into());
        Https { from, to, fingerprint: self.authority.fingerprint(), before, lines }
    }

    /// An HAProxy on the host behind the node.
    fn haproxy(&self, port: u16, upstream: IpAddr, words: &str) -> Result<Haproxy> {
        Haproxy::start(&self.lab.inside(), port, self.authority.at(upstream), words)
    }

    /// An sshd that goes by this authority, and an agent.
    fn node(&self) -> Result<(Agent, Sshd)> {
        let setup = AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).role("open", &[]);
        let setup = setup.cluster("example.com", &self.authority.ca, "roles_from = \"cotter\"")?;
        let agent = setup.start(&self.lab)?;
        Ok((agent, SshdSetup::with_cotter(&self.authority.ca)?.start(&self.lab)?))
    }
}

/// Both addresses of a host.
fn families(wire: Wire) -> [IpAddr; 2] {
    [wire.v4.into(), wire.v6.into()]
}

/// What `GET /v1/observed` answers through there, as `address (how)`; `nobody` if nobody vouches for an address.
fn observed(request: Https<'_>) -> Result<String> {
    let answer = request.get("/v1/observed")?;
    ensure!(answer.status == 200, "{answer:?}");
    let answer = answer.json()?;
    Ok(match (answer["address"].as_str(), answer["how"].as_str()) {
        (Some(address), Some(how)) => format!("{address} ({how})"),
        _ => "nobody".to_owned(),
    })
}

/// A new key, and what alice sends to log in with it.
fn credentials(place: &Place) -> Result<(Identity, Value)> {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    let identity = Identity::plain(place, &format!("/root/key-{}", KEYS.fetch_add(1, Ordering::Relaxed)))?;
    let public_key = place.read(identity.public())?;
    let body = json!({ "user": "alice", "password": PASSWORD, "public_key": public_key.trim() });
    Ok((identity, body))
}

/// Logs alice in through there.
fn log_in(request: Https<'_>) -> Result<(Identity, Answer)> {
    let place = request.from;
    let (identity, body) = credentials(place)?;
    let answer = request.post("/v1/login", &body)?;
    if answer.status == 200 {
        let certificate = answer.json()?["certificate"].as_str().context("no certificate")?.to_owned();
        place.write(identity.certificate(), &certificate)?;
    }
    Ok((identity, answer))
}

/// Whether the connection of alice's login ends without an answer.
fn is_closed(request: Https<'_>) -> Result<bool> {
    let (_, body) = credentials(request.from)?;
    Ok(request.post("/v1/login", &body).is_err())
}

/// What the authority has decided of logins.
fn decisions(told: &Told) -> Result<Vec<Value>> {
    let about_logins = |event: &Value| {
        ["certificate_issued", "login_allowed", "login_denied"].iter().any(|name| event["event"] == *name)
    };
    Ok(told.authority.events()?.into_iter().filter(about_logins).collect())
}

/// Its last word on one.
fn last_decision(told: &Told) -> Result<Value> {
    decisions(told)?.pop().context("nothing was decided")
}

/// Where an event has its login from, as `address (how)`.
fn seen(event: &Value) -> Option<String> {
    let observed = &event["observed"];
    Some(format!("{} ({})", observed["address"].as_str()?, observed["how"].as_str()?))
}

/// Asks and logs in through a balancer from both families of alice's host, and has the certificate used at the node.
fn the_right_address_is_pinned(told: &Told, to: [SocketAddr; 2], print: &str, how: &str) -> Result<()> {
    let (_agent, _sshd) = told.node()?;
    for ((at, to), node) in families(ALICE).into_iter().zip(to).zip([NODE_V4.into(), NODE_V6.into()]) {
        let (alice, elsewhere) = (told.lab.alice(), told.lab.elsewhere());
        let request = Https { from: &alice, to, fingerprint: print, before: b"", lines: &[] };
        assert_eq!(observed(request)?, format!("{at} ({how})"));
        let (identity, answer) = log_in(request)?;
        let issued = answer.json()?;
        let pin = format!("{at}/{}", if at.is_ipv4() { 32 } else { 128 });
        assert_eq!(issued["pinned"], json!([pin]), "{issued}");
        assert_eq!(issued["observed"], json!({ "address": at, "how": how }));
        let event = last_decision(told)?;
        assert_eq!(event["event"], "certificate_issued");
        assert_eq!(seen(&event), Some(format!("{at} ({how})")), "{event}");

        assert_eq!(Login::new(&alice, &identity, "alice").to(node).succeed("echo in")?, "in\n");
        let stolen = Login::new(&elsewhere, &identity, "alice").to(node).run("echo in")?;
        ensure!(!stolen.status.success(), "the certificate for {at} works from elsewhere");
    }
    Ok(())
}

#[test]
fn haproxy_tells_the_address_by_a_header_of_version_1() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let _haproxy = told.haproxy(PORT, NODE_V4.into(), "send-proxy")?;
    let to = families(INSIDE).map(|address| SocketAddr::new(address, PORT));
    the_right_address_is_pinned(&told, to, told.authority.fingerprint(), "proxy-v1 via 198.51.44.3")
}

#[test]
fn haproxy_tells_the_address_by_a_header_of_version_2() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let _haproxy = told.haproxy(PORT, NODE_V6.into(), "send-proxy-v2")?;
    let to = families(INSIDE).map(|address| SocketAddr::new(address, PORT));
    the_right_address_is_pinned(&told, to, told.authority.fingerprint(), "proxy-v2 via 2001:db8:44::3")
}

#[test]
fn haproxy_finds_the_authority_healthy_by_either_version_and_may_add_fields() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let fields = "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl";
    let words = ["check-send-proxy send-proxy", "check-send-proxy send-proxy-v2", fields];
    for (port, words) in (PORT..).zip(words) {
        let haproxy = told.haproxy(port, NODE_V4.into(), words)?;
        eventually(&format!("{words}: healthy"), || Ok((haproxy.health()? == "L7OK").then_some(())))?;
        let to = SocketAddr::new(INSIDE.v4.into(), port);
        let elsewhere = told.lab.elsewhere();
        let request = Https { to, ..told.straight(&elsewhere, b"", &[]) };
        ensure!(observed(request)?.starts_with("198.51.222.2 (proxy-v"), "{words}");
    }
    ensure!(decisions(&told)?.is_empty());
    Ok(())
}

#[test]
fn nginx_tells_the_address_and_a_client_that_forges_one_gains_nothing() -> Result<()> {
    let told = Told::by_forwarded_for()?;
    let nginx = Nginx::start(&told.lab.inside(), PORT, told.authority.at(NODE_V4.into()))?;
    let to = families(INSIDE).map(|address| SocketAddr::new(address, PORT));
    let how = "x-forwarded-for via 198.51.44.3";
    the_right_address_is_pinned(&told, to, nginx.fingerprint(), how)?;

    let elsewhere = told.lab.elsewhere();
    for (to, own) in to.into_iter().zip(families(ELSEWHERE)) {
        for lines in [
            &["X-Forwarded-For: 198.51.111.1"][..],
            &["X-Forwarded-For: 198.51.111.1, 198.51.44.3"],
            &["X-Forwarded-For: 198.51.111.1", "X-Forwarded-For: 198.51.44.3"],
            &["x-forwarded-for: 2001:db8:111::1", "X-Real-IP: 198.51.111.1", "Forwarded: for=198.51.111.1"],
        ] {
            let request =
                Https { from: &elsewhere, to, fingerprint: nginx.fingerprint(), before: b"", lines };
            assert_eq!(observed(request)?, format!("{own} ({how})"), "{lines:?}");
        }
    }
    Ok(())
}

#[test]
fn two_nginx_in_a_row_tell_the_address_and_lists_that_are_none_are_refused() -> Result<()> {
    let told = Told::by_forwarded_for()?;
    let inner = Nginx::start(told.lab.node(), PORT, told.authority.at(NODE_V4.into()))?;
    let outer = Nginx::start(&told.lab.inside(), PORT, SocketAddr::new(NODE_V4.into(), PORT))?;
    let alice = told.lab.alice();
    let to = SocketAddr::new(INSIDE.v6.into(), PORT);
    let request = Https { from: &alice, to, fingerprint: outer.fingerprint(), before: b"", lines: &[] };
    let how = format!("x-forwarded-for via {NODE_V4}");
    assert_eq!(observed(request)?, format!("{} ({how})", ALICE.v6));
    assert_eq!(log_in(request)?.1.json()?["pinned"], json!([format!("{}/128", ALICE.v6)]));

    let to = SocketAddr::new(NODE_V4.into(), PORT);
    let forged = Https { to, fingerprint: inner.fingerprint(), ..request };
    let lines = &["X-Forwarded-For: 203.0.113.7, 198.51.44.3"];
    assert_eq!(observed(Https { lines, ..forged })?, format!("{} ({how})", ALICE.v4));
    for lines in [&["X-Forwarded-For: alice"], &["X-Forwarded-For: 203.0.113.7,"]] {
        let (_, answer) = log_in(Https { lines, ..forged })?;
        assert_eq!((answer.status, answer.json()?["error"].as_str()), (400, Some("malformed")), "{answer:?}");
    }
    Ok(())
}

#[test]
fn nginx_before_haproxy_tells_the_address_by_both_of_their_words() -> Result<()> {
    let told = Told::by("proxy_protocol = \"on\"\ntrust_x_forwarded_for = true")?;
    let _haproxy = told.haproxy(PORT, NODE_V4.into(), "send-proxy-v2")?;
    let l4 = SocketAddr::new(INSIDE.v4.into(), PORT);
    let nginx = Nginx::start(&told.lab.inside(), PORT + 1, l4)?;
    let elsewhere = told.lab.elsewhere();
    for to in families(INSIDE) {
        let own = if to.is_ipv4() { families(ELSEWHERE)[0] } else { families(ELSEWHERE)[1] };
        let lines = &["X-Forwarded-For: 198.51.111.1"];
        let to = SocketAddr::new(to, PORT + 1);
        let l7 = Https { from: &elsewhere, to, fingerprint: nginx.fingerprint(), before: b"", lines };
        assert_eq!(observed(l7)?, format!("{own} (x-forwarded-for via 198.51.44.3)"));
        // Who comes by HAProxy alone has no say in the other.
        let to = SocketAddr::new(to.ip(), PORT);
        let l4 = Https { to, fingerprint: told.authority.fingerprint(), ..l7 };
        assert_eq!(observed(l4)?, format!("{own} (proxy-v2 via 198.51.44.3)"));
    }
    Ok(())
}

#[test]
fn without_a_word_of_a_trusted_hop_the_address_is_unknown_and_a_pinned_role_is_refused() -> Result<()> {
    let told = Told::by_forwarded_for()?;
    let at = told.authority.at(NODE_V4.into());
    let silent = Nginx::saying(&told.lab.inside(), PORT, at, "proxy_set_header X-Forwarded-For \"\";")?;
    let hops = "proxy_set_header X-Forwarded-For \"198.51.100.7, 198.51.44.3\";";
    let hops = Nginx::saying(&told.lab.inside(), PORT + 1, at, hops)?;
    let alice = told.lab.alice();
    for (port, nginx) in [(PORT, &silent), (PORT + 1, &hops)] {
        let to = SocketAddr::new(INSIDE.v4.into(), port);
        let request = Https { from: &alice, to, fingerprint: nginx.fingerprint(), before: b"", lines: &[] };
        assert_eq!(observed(request)?, "nobody");
        let (_, answer) = log_in(request)?;
        assert_eq!(answer.status, 403);
        ensure!(answer.body.contains("nobody vouches for the client's address"), "{answer:?}");
        let event = last_decision(&told)?;
        assert_eq!((event["event"].as_str(), seen(&event)), (Some("login_denied"), None), "{event}");
    }
    // Who comes without any hop is where the socket says.
    let lines = &["X-Forwarded-For: 203.0.113.7"];
    assert_eq!(observed(told.straight(&alice, b"", lines))?, "198.51.111.1 (direct)");
    let (_, answer) = log_in(told.straight(&alice, b"", lines))?;
    assert_eq!(answer.json()?["pinned"], json!(["198.51.111.1/32"]), "{answer:?}");
    Ok(())
}

#[test]
fn a_forged_header_of_the_connection_closes_it() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let (alice, balancer) = (told.lab.alice(), told.lab.inside());
    let v1 = b"PROXY TCP4 203.0.113.7 198.51.100.10 1 2\r\n";
    // From a trusted hop it is a login from there; so it is the sender that matters.
    assert_eq!(observed(told.straight(&balancer, v1, &[]))?, "203.0.113.7 (proxy-v1 via 198.51.44.3)");
    for before in [&v1[..], b"", &local()] {
        ensure!(is_closed(told.straight(&alice, before, &[]))?, "{before:?}");
    }
    // Of a trusted hop that sends none, too.
    ensure!(is_closed(told.straight(&balancer, b"", &[]))?);
    ensure!(decisions(&told)?.is_empty());
    Ok(())
}

#[test]
fn where_no_header_is_due_one_is_refused() -> Result<()> {
    let told = Told::by_forwarded_for()?;
    let (alice, balancer) = (told.lab.alice(), told.lab.inside());
    for from in [&alice, &balancer] {
        for before in [&b"PROXY TCP4 203.0.113.7 198.51.100.10 1 2\r\n"[..], &local()] {
            ensure!(is_closed(told.straight(from, before, &[]))?, "{before:?}");
        }
    }
    ensure!(decisions(&told)?.is_empty());
    Ok(())
}

/// A header of version 2 in which a balancer speaks for itself.
fn local() -> Vec<u8> {
    header(0x20, 0x00, &[])
}

/// A header of version 2.
fn header(command: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, kind][..], &length, payload].concat()
}

#[test]
fn a_balancers_own_connection_is_never_a_login() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let balancer = told.lab.inside();
    // Whatever it says beside that it speaks for itself.
    let with_address = header(0x20, 0x11, &[203, 0, 113, 7, 198, 51, 100, 10, 0, 1, 0, 2]);
    for before in [local(), with_address, header(0x20, 0xff, b"rest")] {
        let request = told.straight(&balancer, &before, &["X-Forwarded-For: 203.0.113.7"]);
        assert_eq!(request.get("/healthz")?.status, 200);
        assert_eq!(observed(request)?, "nobody");
        let (_, answer) = log_in(request)?;
        assert_eq!((answer.status, answer.json()?["error"].as_str()), (403, Some("health_check")));
    }
    // Nor is a client whose address the balancer does not know pinned to anything.
    let unix = header(0x21, 0x31, &[0; 216]);
    let udp = header(0x21, 0x12, &[203, 0, 113, 7, 198, 51, 100, 10, 0, 1, 0, 2]);
    for before in [&b"PROXY UNKNOWN 203.0.113.7 198.51.100.10 1 2\r\n"[..], &unix, &udp] {
        let request = told.straight(&balancer, before, &["X-Forwarded-For: 203.0.113.7"]);
        assert_eq!(observed(request)?, "nobody");
        assert_eq!(log_in(request)?.1.status, 403);
    }
    Ok(())
}

#[test]
fn what_is_no_header_is_closed_within_its_limits_and_never_an_address() -> Result<()> {
    let told = Told::by_proxy_protocol()?;
    let (balancer, to) = (told.lab.inside(), told.authority.at(NODE_V4.into()));
    let v4 = [203, 0, 113, 7, 198, 51, 100, 10, 0, 1, 0, 2];
    let truncated = header(0x21, 0x11, &v4);
    let endless = vec![b'A'; 1 << 20];
    let wrong: [&[&[u8]]; 11] = [
        &[b"GET /v1/observed HTTP/1.1\r\n\r\n"],
        &[b"PROXY TCP4 2001:db8::1 198.51.100.10 1 2\r\n"],
        &[b"PROXY TCP6 203.0.113.7 198.51.100.10 1 2\r\n"],
        &[b"PROXY TCP4 ", &endless],
        &[b"PROXY UNKNOWN ", &endless],
        &[b"PROXY \xff\xfe\0\r\n"],
        &[&[0xff; 64]],
        &[&header(0x21, 0x11, &v4[..11])],
        &[&header(0x21, 0x21, &v4)],
        &[&header(0x21, 0x11, &vec![0; 60000])],
        &[&header(0x21, 0x11, &[&v4[..], &[4, 0xff, 0xff, 0]].concat())],
    ];
    for pieces in wrong {
        let (took, said) = until_closed(&balancer, to, pieces)?;
        let begin = &pieces[0][..pieces[0].len().min(60)];
        ensure!(said.is_empty() && took < PATIENCE, "{begin:?}: {took:?}, {said:?}");
    }
    // What may still become a header is waited for, and no longer than that.
    for pieces in [&[][..], &[&b"P"[..], b"ROXY"], &[&truncated[..20]]] {
        let (took, said) = until_closed(&balancer, to, pieces)?;
        ensure!(said.is_empty() && took >= Duration::from_secs(4) && took < PATIENCE, "{pieces:?}: {took:?}");
    }
    ensure!(decisions(&told)?.is_empty());
    Ok(())
}
