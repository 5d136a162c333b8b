//! Knocks: at a node whose ssh port a real firewall keeps shut, with a socket behind which this test reads what comes.

use std::io::Read;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cotter_knock::{FRAME_HEADER, Fingerprint, FleetSecret, Knock, MAX_KNOCK, frame_len};
use lab::{ALICE, Client, NODE_V4, NODE_V6, Place, Terminal, eventually};

use super::{NAME, PASSWORD, Story, alice, done, fails, json, log_in, output, target};

/// Where the node hears knocks.
const PORT: u16 = 4022;
const SECRET: &str = "/var/lib/cotter-authority/knock.secret";
const KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
const FLEET: &str = "/etc/cotter/client.toml";
const KEY: &str = "/root/.local/state/cotter/198.51.100.10_8443/knock.key";
/// Longest wait for a knock; one is made each second.
const LIMIT: Duration = Duration::from_secs(30);

/// A node's ssh port that is shut, and a bell beside it.
struct Door {
    bell: UdpSocket,
    node: Place,
}

/// Somebody has knocked.
struct Heard {
    from: IpAddr,
    knock: Vec<u8>,
}

impl Door {
    fn shut(story: &Story) -> Result<Self> {
        let node = story.lab.node().clone();
        node.run(
            "nft",
            &["add table inet door; add set inet door v4 { type ipv4_addr; }; add set inet door v6 { type ipv6_addr; }; \
               add chain inet door in { type filter hook input priority 0; }; \
               add rule inet door in tcp dport 22 ip saddr != @v4 drop; \
               add rule inet door in tcp dport 22 ip6 saddr != @v6 drop"],
        )?;
        let bell = node.enter(|| UdpSocket::bind(("::", PORT)))??;
        bell.set_read_timeout(Some(LIMIT))?;
        Ok(Self { bell, node })
    }

    /// Waits for a knock.
    fn hears(&self) -> Result<Heard> {
        let mut buffer = vec![0; MAX_KNOCK];
        let (len, from) = self.bell.recv_from(&mut buffer).context("nobody knocks")?;
        buffer.truncate(len);
        Ok(Heard { from: from.ip().to_canonical(), knock: buffer })
    }

    fn opens_to(&self, address: IpAddr) -> Result<()> {
        let set = if address.is_ipv4() { "v4" } else { "v6" };
        self.node.run("nft", &[&format!("add element inet door {set} {{ {address} }}")]).map(drop)
    }

    /// Opens to whoever knocks next, which has to be a knock at this node by the holder of its certificate.
    fn opens_to_the_next(&self) -> Result<Heard> {
        let heard = self.hears()?;
        let knock = Knock::parse(&heard.knock)?;
        ensure!(knock.is_for(&host_key(&self.node)?), "{:?}", knock.node());
        knock.prove()?;
        self.opens_to(heard.from)?;
        Ok(heard)
    }

    /// Shuts again.
    fn shuts(&self) -> Result<()> {
        self.node.run("nft", &["flush set inet door v4; flush set inet door v6"]).map(drop)
    }
}

fn host_key(node: &Place) -> Result<Fingerprint> {
    Ok(Fingerprint::of_line(&node.read("/root/host.pub")?)?)
}

/// Makes the node's host key known, by these names.
fn make_known(node: &Place, names: &str) -> Result<()> {
    node.write(KNOWN_HOSTS, &format!("{names} {}", node.read("/root/host.pub")?))
}

/// Has the authority give keys for knocks from now on; what they are made of.
fn give_keys(story: &Story) -> Result<FleetSecret> {
    story.authority.run(&["knock-secret", SECRET])?;
    story.authority.configure(&format!("knock_secret = \"{SECRET}\"\n"))?;
    story.authority.reload()?;
    story.authority.event("a reload", |event| event["event"] == "reloaded")?;
    Ok(story.lab.node().read(SECRET)?.parse()?)
}

/// Waits for the words of a command that went through an opened door.
fn goes_through(mut terminal: Terminal, words: &str) -> Result<()> {
    terminal.shows(words, |screen| screen.contains(words))?;
    ensure!(terminal.end()?.success());
    Ok(())
}

#[test]
fn a_dark_node_opens_to_who_knocks_with_the_certificate_its_key_and_the_authoritys() -> Result<()> {
    let story = Story::begin()?;
    let (node, secret) = (story.lab.node(), give_keys(&story)?);
    let client = alice(&story)?;
    let door = Door::shut(&story)?;
    make_known(node, &NODE_V4.to_string())?;
    node.run("ssh-keygen", &["-q", "-H", "-f", KNOWN_HOSTS])?;
    let terminal = client.cotter_at_terminal(&["knock", &NODE_V4.to_string()])?;
    let heard = door.opens_to_the_next()?;
    assert_eq!(heard.from, IpAddr::from(ALICE.v4));
    ensure!(Knock::parse(&heard.knock)?.mac_holds(&secret));
    goes_through(terminal, "198.51.100.10 is open to you")?;

    let told = client.cotter(&["--json", "knock", &target()])?;
    assert_eq!(json(&told)?["open"], true, "{}", output(&told));
    assert_eq!(node.run("stat", &["-c", "%a", KEY])?, "600\n");
    done(&client.cotter(&["logout"])?)?;
    ensure!(!node.enter(|| std::path::Path::new(KEY).exists())?, "the key goes with the logout");
    Ok(())
}

#[test]
fn a_secret_for_knocks_is_made_once_is_its_owners_and_counts_from_a_reload_on() -> Result<()> {
    let story = Story::begin()?;
    let (node, client) = (story.lab.node(), alice(&story)?);
    ensure!(!node.enter(|| std::path::Path::new(KEY).exists())?, "there is no secret yet");
    give_keys(&story)?;
    assert_eq!(node.run("stat", &["-c", "%a", SECRET])?, "600\n");
    let again = story.authority.told(&["knock-secret", SECRET], "")?;
    ensure!(fails(1, &again)?.contains("exists"), "{}", output(&again));
    done(&client.log_in(&story.authority, "alice", PASSWORD)?)?;
    let given = node.read(KEY)?;
    let written = format!("{}{}{:?}", story.authority.log()?, output(&again), story.authority.events()?);
    ensure!(!written.contains(given.trim()) && !written.contains(node.read(SECRET)?.trim()), "{written}");

    // One that others may read is none, at a reload and to `config check`; nothing changes.
    node.run("chmod", &["640", SECRET])?;
    let check = story.authority.told(&["config", "check"], "")?;
    ensure!(fails(2, &check)?.contains("others may read it"), "{}", output(&check));
    story.authority.reload()?;
    story.authority.event("a refusal", |event| event["event"] == "reload_failed")?;
    done(&client.log_in(&story.authority, "alice", PASSWORD)?)?;
    ensure!(node.read(KEY)? != given, "each certificate has a key of its own");

    // Without a secret the key before goes.
    story.authority.configure("")?;
    story.authority.reload()?;
    let reloads = |event: &&serde_json::Value| event["event"] == "reloaded";
    eventually("another reload", || {
        Ok((story.authority.events()?.iter().filter(reloads).count() == 2).then_some(()))
    })?;
    done(&client.log_in(&story.authority, "alice", PASSWORD)?)?;
    ensure!(!node.enter(|| std::path::Path::new(KEY).exists())?, "it is of no use any more");
    Ok(())
}

#[test]
fn ssh_knocks_by_itself_where_the_nodes_entry_says_so() -> Result<()> {
    let story = Story::begin()?;
    let (node, client) = (story.lab.node(), alice(&story)?);
    let door = Door::shut(&story)?;
    let key = host_key(node)?;
    // By the name that was typed, or the one that it stands for; the host key by the entry.
    node.write("/root/.ssh/config", &format!("Host db\n    HostName {NODE_V4}\n    User alice\n"))?;
    for pattern in ["d?", "198.51.100.*"] {
        node.write(
            FLEET,
            &format!("[[node]]\nhosts = [\"{pattern}\"]\nknock = {PORT}\nhost_key = \"{key}\"\n"),
        )?;
        let terminal = client.cotter_at_terminal(&["ssh", "db", "echo in $((40 + 2))"])?;
        door.opens_to_the_next()?;
        goes_through(terminal, "in 42")?;
        door.shuts()?;
    }
    // A person's own entries come first.
    node.write(FLEET, &format!("[[node]]\nhosts = [\"*\"]\nknock = 1\nhost_key = \"{key}\"\n"))?;
    let own = format!("[[node]]\nhosts = [\"db\"]\nknock = {PORT}\nhost_key = \"{key}\"\n");
    node.write("/root/.config/cotter/client.toml", &own)?;
    let terminal = client.cotter_at_terminal(&["ssh", "db", "echo in $((40 + 2))"])?;
    door.opens_to_the_next()?;
    goes_through(terminal, "in 42")?;
    // One that says nothing of knocks leaves the node alone: the door is open, and nobody knocks.
    node.write("/root/.config/cotter/client.toml", "[[node]]\nhosts = [\"db\"]\n")?;
    assert_eq!(done(&client.cotter(&["ssh", "db", "echo in"])?)?, "in\n");
    door.bell.set_nonblocking(true)?;
    while door.hears().is_ok_and(|heard| Knock::parse(&heard.knock).is_ok()) {}
    assert_eq!(done(&client.cotter(&["ssh", "db", "echo in"])?)?, "in\n");
    ensure!(door.hears().is_err(), "somebody has knocked");
    Ok(())
}

#[test]
fn the_first_host_on_the_way_is_the_one_that_is_knocked_at() -> Result<()> {
    let story = Story::with(|setup| setup.role("anywhere", &["max_session_ttl: 1h"]))?;
    let node = story.lab.node();
    story.authority.add("bob", PASSWORD, &["--role", "anywhere"])?;
    let client = Client::at(&story.lab.alice());
    done(&client.log_in(&story.authority, "bob", PASSWORD)?)?;
    let door = Door::shut(&story)?;
    door.opens_to(NODE_V6.into())?;
    make_known(node, &format!("{NODE_V4},{NODE_V6}"))?;
    node.write(FLEET, &format!("[[node]]\nhosts = [\"*\"]\nknock = {PORT}\n"))?;
    let (jump, inner) = (format!("bob@{NODE_V4}"), format!("bob@{NODE_V6}"));
    let arguments = ["ssh", "-J", &jump, &inner, "echo in $((40 + 2))"];
    let terminal = client.cotter_at_terminal(&arguments)?;
    assert_eq!(door.opens_to_the_next()?.from, IpAddr::from(ALICE.v4));
    goes_through(terminal, "in 42")?;
    node.write("/root/.ssh/config", &format!("Host inner\n    HostName {NODE_V6}\n    ProxyJump {jump}\n"))?;
    let words = fails(2, &client.cotter(&["knock", "inner"])?)?;
    ensure!(words.contains("by way of another host"), "{words}");
    Ok(())
}

#[test]
fn plain_ssh_and_scp_knock_by_the_snippet() -> Result<()> {
    let story = Story::begin()?;
    let (node, client) = (story.lab.node(), alice(&story)?);
    let door = Door::shut(&story)?;
    make_known(node, &NODE_V4.to_string())?;
    node.write(FLEET, &format!("[[node]]\nhosts = [\"198.51.100.*\"]\nknock = {PORT}\n"))?;
    let snippet = done(&client.cotter(&["ssh-config", "db", &NODE_V4.to_string()])?)?;
    node.write(
        "/root/.ssh/config",
        &format!("{snippet}\nHost db\n    HostName {NODE_V4}\n    User alice\n"),
    )?;
    node.write("/root/a file", "its words")?;
    for command in [&["ssh", "db", "echo in $((40 + 2))"][..], &["scp", "/root/a file", "db:copied"]] {
        let mut terminal = client.at_terminal(command[0], &command[1..])?;
        door.opens_to_the_next()?;
        ensure!(terminal.end()?.success());
        door.shuts()?;
    }
    assert_eq!(node.read("/home/alice/copied")?, "its words");
    Ok(())
}

#[test]
fn a_key_in_the_ssh_agent_signs_knocks() -> Result<()> {
    let story = Story::begin()?;
    let home = story.lab.alice();
    let _agent = home.spawn(Place::command("ssh-agent").args(["-D", "-a", "/root/agent"]))?;
    let client = Client::at(&home).with("SSH_AUTH_SOCK", "/root/agent");
    eventually("the ssh-agent answers", || {
        Ok(output(&client.run("ssh-add", &["-l"])?).contains("no identities").then_some(()))
    })?;
    log_in(&story, &client, &story.authority.url(), &["--ssh-agent"])?;
    let door = Door::shut(&story)?;
    make_known(story.lab.node(), &NODE_V4.to_string())?;
    let terminal = client.cotter_at_terminal(&["knock", &NODE_V4.to_string()])?;
    door.opens_to_the_next()?;
    goes_through(terminal, "is open to you")
}

#[test]
fn over_a_family_of_addresses_without_a_pin_nobody_knocks_and_ssh_does_not_go() -> Result<()> {
    let story = Story::begin()?;
    // Pinned over IPv4 alone, where the authority was.
    let (node, client) = (story.lab.node(), alice(&story)?);
    let door = Door::shut(&story)?;
    node.write("/etc/hosts", &format!("{NODE_V6} {NAME}\n{NODE_V4} {NAME}\n"))?;
    make_known(node, &format!("[{NAME}]:22,{NAME}"))?;
    node.write(FLEET, &format!("[[node]]\nhosts = [\"*.example.com\"]\nknock = {PORT}\n"))?;
    let target = format!("alice@{NAME}");
    let terminal = client.cotter_at_terminal(&["ssh", &target, "echo to ${SSH_CONNECTION%% *}"])?;
    assert_eq!(door.opens_to_the_next()?.from, IpAddr::from(ALICE.v4));
    goes_through(terminal, "to 198.51.111.1")?;
    let words = fails(1, &client.cotter(&["ssh", "-6", &target, "true"])?)?;
    ensure!(words.contains("pinned to 198.51.111.1"), "{words}");
    Ok(())
}

#[test]
fn a_certificate_too_large_for_a_datagram_goes_over_tcp_only_where_that_is_asked_for() -> Result<()> {
    let story = Story::begin()?;
    let node = story.lab.node();
    let logins: Vec<String> = (0..60).map(|number| format!("account-of-a-service-{number}")).collect();
    let logins = logins.iter().flat_map(|login| ["--login", login]);
    let arguments: Vec<&str> = ["--role", "pinned-ip"].into_iter().chain(logins).collect();
    story.authority.add("many", PASSWORD, &arguments)?;
    let client = Client::at(&story.lab.alice());
    done(&client.log_in(&story.authority, "many", PASSWORD)?)?;
    let door = Door::shut(&story)?;
    make_known(node, &NODE_V4.to_string())?;
    let words = fails(1, &client.cotter(&["knock", &NODE_V4.to_string()])?)?;
    ensure!(words.contains("a datagram holds 1200") && words.contains("--tcp"), "{words}");

    let listener = node.enter(|| TcpListener::bind(("::", PORT)))??;
    let terminal = client.cotter_at_terminal(&["knock", "--tcp", &NODE_V4.to_string()])?;
    let (mut stream, from) = listener.accept()?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header)?;
    let mut knock = vec![0; frame_len(header)?];
    stream.read_exact(&mut knock)?;
    Knock::parse(&knock)?.prove()?;
    door.opens_to(from.ip().to_canonical())?;
    goes_through(terminal, "is open to you")
}

#[test]
fn a_node_that_stays_shut_is_told_with_what_may_be_behind_it() -> Result<()> {
    let story = Story::begin()?;
    let (node, client) = (story.lab.node(), alice(&story)?);
    let door = Door::shut(&story)?;
    let words = fails(1, &client.cotter(&["knock", &NODE_V4.to_string()])?)?;
    ensure!(words.contains("the host key of 198.51.100.10 is not known"), "{words}");
    ensure!(words.contains("host_key = \"SHA256:…\""), "{words}");

    let key = host_key(node)?.to_string();
    make_known(node, &format!("[{NODE_V4}]:2222"))?;
    let shut = client.cotter(&["knock", "--port", "2222", "--knock-port", "4444", &NODE_V4.to_string()])?;
    let words = fails(1, &shut)?;
    for part in ["198.51.100.10 stays shut", &key, "none is heard there", "connections are refused"] {
        ensure!(words.contains(part), "{part}: {words}");
    }
    ensure!(words.contains("knocking at 198.51.100.10"), "{words}");
    ensure!(words.contains("it sees you at 198.51.111.1"), "{words}");
    door.bell.set_nonblocking(true)?;
    ensure!(door.hears().is_err(), "a knock at another port is heard here");

    let words = fails(1, &client.moved(&story.lab.elsewhere()).cotter(&["knock", &NODE_V4.to_string()])?)?;
    ensure!(words.contains("your address changed"), "{words}");
    let words = fails(3, &client.cotter(&["knock", "nowhere.example.com"])?)?;
    ensure!(words.contains("no address is found"), "{words}");
    Ok(())
}
