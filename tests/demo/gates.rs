//! The fourth part: a node that shows strangers nothing, neither its PostgreSQL nor its sshd, and opens to who knocks and logs in.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lab::{
    ALICE, Agent, AgentSetup, Authority, Client, ELSEWHERE, Knocker, Lab, NODE_V4, Place, Postgres, Sshd,
    SshdSetup, Terminal, eventually,
};

use crate::part::{self, Step};
use crate::screen::Screen;

/// What nodes and authority share, and the gates.
const SECRET: &str = "/etc/cotter/knock.secret";
const REST: &str = "secret = \"/etc/cotter/knock.secret\"\n\n[[gate]]\nports = [22]\n\n[[gate]]\nports = [5432]\nroles = [\"dba\"]\n";
/// What alice's machine is told of the node.
const ENTRY: &str = "[[node]]\nhosts = [\"198.51.100.10\"]\nknock = 4022\n";
const PASSWORD: &str = "correct horse battery staple";
const QUERY: &str = "select 'hello ' || current_user";
/// What does not answer by then does not answer.
const NEVER: Duration = Duration::from_secs(1);

const STEPS: [Step<Gated>; 4] = [
    ("Nobody is there yet: the node answers nobody", answers_nobody),
    ("Alice comes: cotter ssh knocks, sshd answers, and PostgreSQL does", opens),
    ("To everybody else the node stays dark", not_to_others),
    ("The agent dies, and alice logs out: the gate shuts all the same", shuts),
];

/// A dark node with a database, and alice.
struct Gated {
    screen: Screen,
    session: Option<Terminal>,
    alice: Client,
    agent: Agent,
    _authority: Authority,
    _database: Postgres,
    _sshd: Sshd,
    lab: Lab,
}

/// Plays all of it; whether every step came out right.
pub(crate) fn play() -> Result<bool> {
    let screen = Screen::new();
    screen.title("A node that is dark for strangers: gates before sshd and a real PostgreSQL, and a knock");
    screen.say(
        "  alice      198.51.111.1  is logged in at the authority; her role is dba, with pin_source_ip: true",
    );
    screen.say("  elsewhere  198.51.222.2  somebody else");
    screen.say("  node       198.51.100.10 enforces; gates before ports 22 and 5432, knocks are heard at UDP port 4022");
    Ok(part::play(screen, Gated::set(screen)?, &STEPS))
}

impl Gated {
    fn set(screen: Screen) -> Result<Self> {
        let lab = Lab::start()?;
        let setup = AgentSetup::new("enforce").role("dba", &["pin_source_ip: true"]);
        setup.write(&lab)?;
        let authority = Authority::start(&lab, "")?;
        authority.run(&["knock-secret", SECRET])?;
        authority.configure(&format!("knock_secret = \"{SECRET}\"\n"))?;
        authority.reload()?;
        authority.event("a reload", |event| event["event"] == "reloaded")?;
        authority.add("alice", PASSWORD, &["--role", "dba"])?;
        let database = Postgres::open(&lab)?;
        let agent = setup
            .last(&Knocker::heard(lab.node(), REST)?)
            .cluster("example.com", &authority.ca, "roles_from = \"cotter\"")?
            .start(&lab)?;
        let sshd = SshdSetup::with_cotter(&authority.ca)?.start(&lab)?;
        lab.node().write("/etc/cotter/client.toml", ENTRY)?;
        let host_key = lab.node().read("/root/host.pub")?;
        lab.node().write("/etc/ssh/ssh_known_hosts", &format!("{NODE_V4} {host_key}"))?;
        let alice = Client::at(&lab.alice());
        let login = alice.log_in(&authority, "alice", PASSWORD)?;
        ensure!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
        Ok(Self {
            screen,
            session: None,
            alice,
            agent,
            _authority: authority,
            _database: database,
            _sshd: sshd,
            lab,
        })
    }

    /// Whether the database answers somebody.
    fn answers(&self, place: &Place) -> Result<bool> {
        self.screen.command(place.name(), format_args!("psql -h {NODE_V4} -U postgres -c \"{QUERY}\""));
        let mut psql = Place::command("psql");
        psql.args(["--host", &NODE_V4.to_string(), "--username=postgres", "-tAc", QUERY]);
        let output = place.output(psql.env("PGCONNECT_TIMEOUT", "2"))?;
        self.screen.printed(&String::from_utf8_lossy(&output.stdout));
        self.screen.printed(&String::from_utf8_lossy(&output.stderr));
        Ok(output.status.success())
    }

    fn answers_alice(&self) -> Result<bool> {
        self.answers(&self.lab.alice())
    }

    /// Whether sshd answers somebody.
    fn is_dark_to(&self, place: &Place) -> Result<bool> {
        self.screen.command(place.name(), format_args!("nc -z -w 1 {NODE_V4} 22"));
        let sshd = SocketAddr::from((NODE_V4, 22));
        let dark = place.enter(|| TcpStream::connect_timeout(&sshd, NEVER).is_err())?;
        self.screen.printed(if dark { "no answer" } else { "connected" });
        Ok(dark)
    }

    fn explain(&self, from: Ipv4Addr) -> Result<()> {
        let (from, to) = (format!("{from}:40000"), format!("{NODE_V4}:5432"));
        let arguments = ["explain", "--from", &from, "--to", &to];
        self.screen.command("node", format_args!("cotter-agent {}", arguments.join(" ")));
        // Its exit code says what becomes of the packet.
        let output = self.agent.cli(&arguments)?;
        self.screen.printed(&String::from_utf8_lossy(&output.stdout));
        Ok(())
    }
}

fn answers_nobody(gated: &mut Gated) -> Result<String> {
    for place in [gated.lab.alice(), gated.lab.elsewhere()] {
        ensure!(gated.is_dark_to(&place)?, "sshd has answered {}", place.name());
    }
    ensure!(!gated.answers_alice()?, "PostgreSQL has answered");
    Ok("no answer, as if no node were there".into())
}

fn opens(gated: &mut Gated) -> Result<String> {
    let target = format!("alice@{NODE_V4}");
    let arguments = ["ssh", &target, "echo in$((40+2)); exec cat"];
    gated.screen.command("alice", format_args!("cotter ssh {target}   (stays open)"));
    let mut session = gated.alice.cotter_at_terminal(&arguments)?;
    session.shows("alice is in", |screen| screen.contains("in42"))?;
    gated.session = Some(session);
    let knock = gated.agent.event("her knock", |event| event["event"] == "knock_accepted")?;
    gated.screen.voice("audit log", &crate::stage::gist(&knock));
    ensure!(gated.answers_alice()?, "PostgreSQL does not answer her");
    gated.explain(ALICE.v4)?;
    Ok("granted, to the address that she knocked and logged in from".into())
}

fn not_to_others(gated: &mut Gated) -> Result<String> {
    let elsewhere = gated.lab.elsewhere();
    ensure!(gated.is_dark_to(&elsewhere)?, "sshd has answered");
    ensure!(!gated.answers(&elsewhere)?, "PostgreSQL has answered");
    gated.explain(ELSEWHERE.v4)?;
    Ok("no_grant".into())
}

fn shuts(gated: &mut Gated) -> Result<String> {
    gated.screen.command("node", "kill -9 cotter-agent");
    gated.agent.kill9()?;
    ensure!(gated.answers_alice()?, "the gate has shut with the agent");
    let Some(mut session) = gated.session.take() else { bail!("alice is not in") };
    gated.screen.say("alice logs out");
    session.press("\u{4}")?;
    session.end()?;
    eventually("the gate is shut", || Ok((!gated.answers_alice()?).then_some(())))?;
    Ok("no_grant, by the kernel alone".into())
}
