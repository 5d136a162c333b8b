//! The second part: balancers in front of the authority say whom they forward, and nobody else is asked.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::{ALICE, AgentSetup, Authority, Haproxy, Https, INSIDE, Lab, NODE_V4, Nginx, Place, until_closed};

use crate::part::{self, Step};
use crate::screen::Screen;

const PASSWORD: &str = "correct horse battery";
/// Ports of HAProxy and nginx.
const L4: u16 = 8443;
const L7: u16 = 443;
/// What a thief says to be taken for Alice.
const FORGED_LINE: &str = "X-Forwarded-For: 198.51.111.1";
const FORGED_HEADER: &str = "PROXY TCP4 198.51.111.1 198.51.100.10 40000 8443";
/// How long a connection may take to be closed.
const AT_ONCE: Duration = Duration::from_secs(3);

const STEPS: [Step<Front>; 4] = [
    ("Alice logs in through HAProxy, which sends PROXY v2", through_haproxy),
    ("Alice logs in through nginx and HAProxy", through_nginx),
    ("A thief forges X-Forwarded-For, through nginx", forged_line),
    ("A thief forges a PROXY header, straight to the authority", forged_header),
];

/// The authority behind its balancers.
struct Front {
    screen: Screen,
    _haproxy: Haproxy,
    nginx: Nginx,
    authority: Authority,
    lab: Lab,
}

/// Plays all of it; whether every step came out right.
pub(crate) fn play() -> Result<bool> {
    let screen = Screen::new();
    screen.title("The same behind balancers: a real HAProxy, a real nginx");
    screen.say("  inside     198.51.44.3   HAProxy (TCP, send-proxy-v2) and nginx (HTTPS, X-Forwarded-For)");
    screen.say("  node       198.51.100.10 cotter-authority: trusted_proxies = [\"198.51.44.3\"],");
    screen.say("                           proxy_protocol = \"on\", trust_x_forwarded_for = true");
    Ok(part::play(screen, Front::set(screen)?, &STEPS))
}

impl Front {
    fn set(screen: Screen) -> Result<Self> {
        let lab = Lab::start()?;
        AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
        let lines =
            "trusted_proxies = [\"198.51.44.3\"]\nproxy_protocol = \"on\"\ntrust_x_forwarded_for = true\n";
        let authority = Authority::start(&lab, lines)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        let inside = lab.inside();
        let haproxy = Haproxy::start(&inside, L4, authority.at(NODE_V4.into()), "send-proxy-v2")?;
        let nginx = Nginx::start(&inside, L7, Self::at(L4))?;
        Ok(Self { screen, _haproxy: haproxy, nginx, authority, lab })
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new(INSIDE.v4.into(), port)
    }

    /// Logs alice in there, who must be pinned to her address, observed in this way.
    fn logs_in(&self, port: u16, fingerprint: &str, how: &str) -> Result<String> {
        let alice = self.lab.alice();
        let at = Self::at(port);
        self.screen.command("alice", format_args!("cotter login --authority https://{at} --user alice"));
        let output = self.authority.log_in_at(&alice, at, fingerprint, "alice", PASSWORD)?;
        self.screen.printed(&said(&output));
        if !output.status.success() {
            bail!("she is not let in");
        }
        let event = self.authority.event("the certificate in the audit log", |event| {
            event["event"] == "certificate_issued" && event["observed_how"] == how
        })?;
        let (pinned, observed) = (&event["pinned"], &event["observed"]);
        self.screen.voice("audit log", &format!("{} pinned={pinned} observed={observed}", event["event"]));
        let at = format!("{}/32", ALICE.v4);
        if *pinned != serde_json::json!([at]) {
            bail!("she is pinned to {pinned}, observed {observed}");
        }
        Ok(format!("pinned to {at}, her own address: {how}"))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn through_haproxy(front: &mut Front) -> Result<String> {
    front.logs_in(L4, front.authority.fingerprint(), "proxy-v2 via 198.51.44.3")
}

fn through_nginx(front: &mut Front) -> Result<String> {
    front.logs_in(L7, front.nginx.fingerprint(), "x-forwarded-for via 198.51.44.3")
}

fn forged_line(front: &mut Front) -> Result<String> {
    let thief = front.lab.elsewhere();
    let fingerprint = front.nginx.fingerprint();
    let request = Https { from: &thief, to: Front::at(L7), fingerprint, before: b"", lines: &[FORGED_LINE] };
    front.screen.say(&format!("elsewhere asks where it is seen, and adds: {FORGED_LINE}"));
    let answer = request.get("/v1/observed")?;
    front.screen.printed(&answer.body);
    match answer.json()?["address"].as_str() {
        Some("198.51.222.2") => Ok("not believed: 198.51.222.2, where the thief is".to_owned()),
        other => bail!("the authority sees {other:?}"),
    }
}

fn forged_header(front: &mut Front) -> Result<String> {
    let thief: Place = front.lab.elsewhere();
    let to = front.authority.at(NODE_V4.into());
    front.screen.say(&format!("elsewhere connects to {to}, and begins: {FORGED_HEADER}"));
    let (took, answer) = until_closed(&thief, to, &[FORGED_HEADER.as_bytes(), b"\r\n"])?;
    if !answer.is_empty() || took > AT_ONCE {
        bail!("answered with {} bytes after {took:?}", answer.len());
    }
    Ok(format!("refused: the connection was closed after {} ms, without a byte", took.as_millis()))
}
