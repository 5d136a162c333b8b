//! The client: new logins where the old one is of no use any more, at a terminal and without; plain ssh; the ssh-agent;
//! addresses of both families.

/// What an administrator sets for everybody on a machine.
mod fleet;
/// Signals end it at once, wherever it is, and the terminal is as before.
mod interrupts;
/// Hosts on the way to others, and the programs that run ssh.
mod journeys;
/// Knocks at nodes that are dark, by command and by itself.
mod knock;
/// What is remembered from one command to the next, and what becomes of it.
mod memory;

use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use cotter_api::{AuthorityError, Issued, LoginRequest, StatementRequest, Trust};
use lab::{
    ALICE, Agent, AgentSetup, Authority, Client, Lab, NODE_V4, NODE_V6, Place, Sshd, SshdSetup, Terminal,
    eventually,
};
use serde_json::Value;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};

/// The node's name, which has an address of each family.
const NAME: &str = "login.example.com";

const PASSWORD: &str = "correct horse battery";

/// A node that enforces, with an authority of its own beside it.
struct Story {
    authority: Authority,
    _agent: Agent,
    _sshd: Sshd,
    lab: Lab,
}

impl Story {
    fn begin() -> Result<Self> {
        Self::with(|setup| setup)
    }

    /// The same with further roles.
    fn with(roles: impl FnOnce(AgentSetup) -> AgentSetup) -> Result<Self> {
        let lab = Lab::start()?;
        let setup = roles(AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]));
        setup.write(&lab)?;
        let authority = Authority::start(&lab, "")?;
        let setup = setup.cluster("example.com", &authority.ca, "roles_from = \"cotter\"")?;
        let agent = setup.start(&lab)?;
        let sshd = SshdSetup::with_cotter(&authority.ca)?.start(&lab)?;
        authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
        Ok(Self { authority, _agent: agent, _sshd: sshd, lab })
    }
}

fn output(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Somebody at home, logged in as alice.
fn alice(story: &Story) -> Result<Client> {
    let home = story.lab.alice();
    done(&story.authority.log_in(&home, "alice", PASSWORD)?)?;
    Ok(Client::at(&home))
}

fn target() -> String {
    format!("alice@{NODE_V4}")
}

fn done(output: &Output) -> Result<String> {
    let words = self::output(output);
    ensure!(output.status.success(), "{}: {words}", output.status);
    Ok(words)
}

fn fails(code: i32, output: &Output) -> Result<String> {
    let words = self::output(output);
    ensure!(output.status.code() == Some(code), "not {code} but {}: {words}", output.status);
    Ok(words)
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| self::output(output))
}

/// Types alice's password when it is asked for; what the screen showed then.
fn types_password(terminal: &mut Terminal) -> Result<String> {
    types_password_of("alice", terminal)
}

/// The same of somebody.
fn types_password_of(user: &str, terminal: &mut Terminal) -> Result<String> {
    let question = format!("Password of {user} at");
    let asked = terminal.shows("the password is asked for", |screen| screen.contains(&question))?;
    // What is typed before the echo is off would be shown.
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press(&format!("{PASSWORD}\r"))?;
    Ok(asked)
}

#[test]
fn who_has_moved_is_asked_for_the_password_once_and_the_same_command_goes_on() -> Result<()> {
    let story = Story::begin()?;
    let away = alice(&story)?.moved(&story.lab.elsewhere());
    let mut terminal = away.cotter_at_terminal(&["ssh", &target(), "echo in $((40 + 2))"])?;
    let asked = types_password(&mut terminal)?;
    ensure!(asked.contains("your address changed from 198.51.111.1 to 198.51.222.2"), "{asked}");
    terminal.shows("the command's own words", |screen| screen.contains("in 42"))?;
    ensure!(terminal.end()?.success());
    let mut again = away.cotter_at_terminal(&["ssh", &target(), "echo in again"])?;
    let shown = again.shows("the command's own words", |screen| screen.contains("in again"))?;
    ensure!(again.end()?.success() && !shown.contains("Password"), "{shown}");
    Ok(())
}

#[test]
fn a_wrong_password_is_asked_for_again_and_an_interrupt_leaves_the_terminal_as_it_was() -> Result<()> {
    let story = Story::begin()?;
    let away = alice(&story)?.moved(&story.lab.elsewhere());
    let mut terminal = away.cotter_at_terminal(&["ssh", &target(), "echo in"])?;
    terminal.shows("the password is asked for", |screen| screen.contains("Password of alice at"))?;
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press("wrong\r")?;
    let again = |screen: &str| screen.matches("Password of alice at").count() == 2;
    let shown = terminal.shows("the password is asked for again", again)?;
    ensure!(shown.contains("wrong user, password or code"), "{shown}");
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press("\u{3}")?;
    assert_eq!(terminal.end()?.code(), Some(130));
    ensure!(!terminal.is_taken()?, "the terminal is left as it was");
    Ok(())
}

#[test]
fn a_node_that_refuses_all_the_same_is_told_with_both_addresses_and_nobody_is_asked_again() -> Result<()> {
    let story = Story::begin()?;
    let client = alice(&story)?;
    done(&client.cotter(&["logout"])?)?;
    // The authority is reached over IPv4 alone, and the node over IPv6.
    let mut terminal = client.cotter_at_terminal(&["ssh", &format!("alice@{NODE_V6}"), "echo in"])?;
    let asked = types_password(&mut terminal)?;
    ensure!(asked.contains("you are not logged in"), "{asked}");
    let shown = terminal.shows("what may be behind it", |screen| screen.contains("try ssh -4"))?;
    assert_eq!(terminal.end()?.code(), Some(255));
    assert_eq!(shown.matches("Password of alice").count(), 1, "{shown}");
    let shown = shown.replace('\n', "");
    ensure!(shown.contains("sees you at 198.51.111.1"), "{shown}");
    ensure!(shown.contains("pinned to 198.51.111.1"), "{shown}");
    Ok(())
}

#[test]
fn a_remote_command_that_ends_like_a_failed_ssh_runs_once() -> Result<()> {
    let story = Story::begin()?;
    let client = alice(&story)?;
    let ended = client.cotter(&["ssh", &target(), "echo ran >>/tmp/ran; exit 255"])?;
    fails(255, &ended)?;
    assert_eq!(story.lab.node().read("/tmp/ran")?, "ran\n");
    fails(7, &client.cotter(&["ssh", &target(), "exit 7"])?)?;
    Ok(())
}

#[test]
fn without_a_terminal_nobody_waits_for_an_answer() -> Result<()> {
    let story = Story::begin()?;
    let away = alice(&story)?.moved(&story.lab.elsewhere());
    let words = fails(1, &away.cotter_told(&["ssh", &target(), "cat"], "input of the command")?)?;
    ensure!(words.contains("your address changed from 198.51.111.1 to 198.51.222.2"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    let words = fails(1, &away.cotter(&["login"])?)?;
    ensure!(words.contains("no terminal"), "{words}");
    fails(1, &away.cotter(&["status"])?)?;
    done(&away.cotter(&["ssh", "-V"])?)?;
    Ok(())
}

#[test]
fn plain_ssh_scp_and_rsync_log_in_again_by_the_snippet_whatever_the_paths_are() -> Result<()> {
    let story = Story::begin()?;
    let home = Client::at(&story.lab.alice()).with("XDG_STATE_HOME", "/root/it's a \"state\", 100%");
    log_in(&story, &home, &story.authority.url(), &[])?;
    let snippet = done(&home.cotter(&["ssh-config", &NODE_V4.to_string()])?)?;
    story.lab.node().write("/root/.ssh/config", &snippet)?;
    assert_eq!(done(&home.run("ssh", &[&target(), "echo in"])?)?, "in\n");
    story.lab.node().write("/root/a file", "its words")?;
    done(&home.run("scp", &["/root/a file", &format!("{}:copied", target())])?)?;
    done(&home.run("rsync", &["/root/a file", &format!("{}:synced", target())])?)?;
    for copy in ["copied", "synced"] {
        assert_eq!(story.lab.node().read(format!("/home/alice/{copy}"))?, "its words");
    }
    let away = home.moved(&story.lab.elsewhere());
    let words = fails(255, &away.run("ssh", &[&target(), "echo in"])?)?;
    ensure!(words.contains("your address changed from 198.51.111.1 to 198.51.222.2"), "{words}");
    ensure!(words.contains("run `cotter login`"), "{words}");
    let mut terminal = away.at_terminal("ssh", &[&target(), "echo in $((40 + 2))"])?;
    types_password(&mut terminal)?;
    terminal.shows("the command's own words", |screen| screen.contains("in 42"))?;
    ensure!(terminal.end()?.success());
    Ok(())
}

#[test]
fn a_key_in_the_ssh_agent_is_on_no_disk_and_goes_with_the_logout_or_at_its_end() -> Result<()> {
    let story = Story::with(|setup| setup.role("brief", &["pin_source_ip: true", "max_session_ttl: 10s"]))?;
    let home = story.lab.alice();
    let _agent = home.spawn(Place::command("ssh-agent").args(["-D", "-a", "/root/agent"]))?;
    let client = Client::at(&home).with("SSH_AUTH_SOCK", "/root/agent");
    let listed = || -> Result<String> { Ok(output(&client.run("ssh-add", &["-l"])?)) };
    eventually("the ssh-agent answers", || Ok(listed()?.contains("no identities").then_some(())))?;
    log_in(&story, &client, &story.authority.url(), &["--ssh-agent"])?;
    let private = client.run("grep", &["-rl", "PRIVATE KEY", "/root/.local"])?;
    fails(1, &private)?;
    ensure!(listed()?.contains("(ED25519-CERT)"), "{}", listed()?);
    assert_eq!(done(&client.cotter(&["ssh", &target(), "echo in"])?)?, "in\n");
    done(&client.cotter(&["logout"])?)?;
    ensure!(listed()?.contains("no identities"), "{}", listed()?);

    story.authority.add("bob", PASSWORD, &["--role", "brief"])?;
    let arguments = ["login", "--user", "bob", "--password-stdin"];
    done(&client.cotter_told(&arguments, PASSWORD)?)?;
    ensure!(listed()?.contains("bob at"), "{}", listed()?);
    eventually("the ssh-agent forgets it", || Ok(listed()?.contains("no identities").then_some(())))?;
    let words = fails(1, &client.cotter(&["ssh", &format!("bob@{NODE_V4}"), "true"])?)?;
    ensure!(words.contains("your certificate has expired"), "{words}");
    Ok(())
}

#[test]
fn who_has_addresses_of_both_families_is_pinned_to_both_and_gets_in_over_each() -> Result<()> {
    let story = Story::begin()?;
    let hosts = format!("{NODE_V4} {NAME}\n{NODE_V6} {NAME}\n");
    story.lab.node().write("/etc/hosts", &hosts)?;
    let client = Client::at(&story.lab.alice());
    log_in(&story, &client, &format!("https://{NAME}:8443"), &[])?;
    let status = client.cotter(&["status", "--json"])?;
    done(&status)?;
    let mut pins: Vec<String> = serde_json::from_value(json(&status)?["pinned"].clone())?;
    pins.sort();
    assert_eq!(pins, [format!("{}/32", ALICE.v4), format!("{}/128", ALICE.v6)]);
    for node in [NODE_V4.to_string(), NODE_V6.to_string()] {
        assert_eq!(done(&client.cotter(&["ssh", &format!("alice@{node}"), "echo in"])?)?, "in\n");
    }
    let events = story.authority.events()?;
    let issued = events.iter().find(|event| event["event"] == "certificate_issued").context("no event")?;
    let mut seen: Vec<&str> =
        ["observed", "other_observed"].iter().filter_map(|it| issued[*it].as_str()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [ALICE.v4.to_string(), ALICE.v6.to_string()]);
    let words = fails(1, &client.moved(&story.lab.elsewhere()).cotter(&["status"])?)?;
    ensure!(words.contains("your address changed from"), "{words}");
    Ok(())
}

/// Asks the authority over one family, from alice's host.
fn asks<T: Send>(
    story: &Story,
    over: std::net::IpAddr,
    question: impl AsyncFnOnce(cotter_api::Authority) -> T + Send,
) -> Result<T> {
    let place = format!("https://{}", story.authority.at(over)).parse()?;
    let trust = Trust::Fingerprint(story.authority.fingerprint().parse()?);
    story.lab.alice().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(question(cotter_api::Authority::new(place, trust))))
    })?
}

/// A new key, and the authority's statement of where it is seen over this family, for that key.
fn stated(story: &Story, over: std::net::IpAddr) -> Result<(String, String)> {
    let public_key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?.public_key().to_openssh()?;
    let request = StatementRequest { public_key: public_key.clone() };
    let statement = asks(story, over, async |authority| authority.state(&request).await)??;
    Ok((public_key, statement.token.context("nobody vouches")?))
}

/// Logs in over IPv4 with the key and the statement; the pins, or the word of the refusal.
fn logs_in_with(story: &Story, public_key: &str, token: &str) -> Result<Result<Vec<String>, String>> {
    let request = LoginRequest {
        user: "alice".into(),
        password: PASSWORD.into(),
        code: None,
        public_key: public_key.into(),
        other_observation: Some(token.into()),
    };
    match asks(story, NODE_V4.into(), async |authority| authority.login(&request).await)? {
        Ok(Issued { pinned, .. }) => Ok(Ok(pinned)),
        Err(AuthorityError::Refused(refusal)) => Ok(Err(refusal.error)),
        Err(other) => Err(other.into()),
    }
}

#[test]
fn a_statement_of_the_other_address_counts_once_and_for_its_key_and_family_alone() -> Result<()> {
    let story = Story::begin()?;
    let refused = Err("other_observation".to_owned());
    let (key, token) = stated(&story, NODE_V6.into())?;
    let pins = vec![format!("{}/32", ALICE.v4), format!("{}/128", ALICE.v6)];
    assert_eq!(logs_in_with(&story, &key, &token)?, Ok(pins));
    assert_eq!(logs_in_with(&story, &key, &token)?, refused, "a second time");
    let (_, of_another) = stated(&story, NODE_V6.into())?;
    assert_eq!(logs_in_with(&story, &key, &of_another)?, refused, "of another key");
    let (key, over_ipv4) = stated(&story, NODE_V4.into())?;
    assert_eq!(logs_in_with(&story, &key, &over_ipv4)?, refused, "of the same family");
    assert_eq!(logs_in_with(&story, &key, "made up")?, refused, "of nobody");
    Ok(())
}

#[test]
fn a_second_factor_is_asked_for_where_a_role_demands_one() -> Result<()> {
    let story =
        Story::with(|setup| setup.role("careful", &["pin_source_ip: true", "require_second_factor: true"]))?;
    let add =
        "echo \"$0\" | cotter-authority --json user add careful --login alice --role careful --second-factor";
    let told = story.lab.node().run("sh", &["-c", add, PASSWORD])?;
    let told: Value = serde_json::from_str(told.lines().last().context("nothing")?)?;
    let secret = totp_rs::Secret::try_from_base32(told["second_factor"].as_str().context("no secret")?);
    let Ok(secret) = secret else { bail!("no secret: {told}") };
    let Ok(totp) = totp_rs::Builder::new().with_secret(secret).build() else { bail!("no codes") };
    let client = Client::at(&story.lab.alice());
    let (url, fingerprint) = (story.authority.url(), story.authority.fingerprint());
    let arguments = ["login", "--authority", &url, "--user", "careful", "--fingerprint", fingerprint];
    let mut terminal = client.cotter_at_terminal(&arguments)?;
    terminal.shows("the password is asked for", |screen| screen.contains("Password of careful"))?;
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    terminal.press(&format!("{PASSWORD}\r"))?;
    terminal.shows("the code is asked for", |screen| screen.contains("Code of your second factor"))?;
    eventually("the terminal hides what is typed", || Ok(terminal.is_taken()?.then_some(())))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    terminal.press(&format!("{}\r", totp.generate(now)))?;
    terminal.shows("what the login is worth", |screen| screen.contains("pinned     198.51.111.1/32"))?;
    ensure!(terminal.end()?.success());
    Ok(())
}

#[test]
fn an_authority_is_trusted_by_its_fingerprint_which_is_asked_for_once_and_must_not_change() -> Result<()> {
    let story = Story::begin()?;
    let (client, url) = (Client::at(&story.lab.alice()), story.authority.url());
    let unknown = ["login", "--authority", &url, "--user", "alice"];
    let words = fails(1, &client.cotter_told(&[&unknown[..], &["--password-stdin"]].concat(), PASSWORD)?)?;
    ensure!(words.contains("not known yet"), "{words}");
    let mut terminal = client.cotter_at_terminal(&unknown)?;
    let shown = terminal.shows("the fingerprint", |screen| screen.contains("fingerprint)?"))?;
    ensure!(shown.contains(story.authority.fingerprint()), "{shown}");
    terminal.press("yes\r")?;
    types_password(&mut terminal)?;
    ensure!(terminal.end()?.success());
    let mut again = client.cotter_at_terminal(&["login"])?;
    let shown = types_password(&mut again)?;
    ensure!(again.end()?.success() && !shown.contains("not known"), "{shown}");

    let other = format!("SHA256:{}", "00".repeat(32));
    let changed = [&unknown[..], &["--fingerprint", &other, "--password-stdin"]].concat();
    let words = fails(1, &client.cotter_told(&changed, PASSWORD)?)?;
    ensure!(words.contains("NOT THE AUTHORITY YOU KNOW"), "{words}");
    ensure!(words.contains(story.authority.fingerprint()) && words.contains(&other), "{words}");
    // What was known before still is.
    done(&client.cotter(&["status"])?)?;
    Ok(())
}

#[test]
fn an_authority_that_is_away_keeps_nobody_from_using_a_certificate_that_is_good() -> Result<()> {
    let story = Story::begin()?;
    let client = alice(&story)?;
    let status = client.cotter(&["status", "--json"])?;
    let shown = json(&status)?;
    assert_eq!((&shown["fits"], &shown["user"]), (&Value::from(true), &Value::from("alice")));
    assert_eq!(shown["observed"][0]["address"], "198.51.111.1");
    assert_eq!(shown["observed"][0]["how"], "direct");
    drop(story.authority);
    let words = done(&client.cotter(&["ssh", &target(), "echo in"])?)?;
    ensure!(words.contains("trying the certificate that you have") && words.starts_with("in\n"), "{words}");
    fails(3, &client.cotter(&["status"])?)?;
    done(&client.cotter(&["logout"])?)?;
    let words = fails(3, &client.cotter(&["ssh", &target(), "echo in"])?)?;
    ensure!(words.contains("you are not logged in, and you cannot log in again"), "{words}");
    Ok(())
}

/// Logs alice in at the authority by this URL.
fn log_in(story: &Story, client: &Client, url: &str, further: &[&str]) -> Result<()> {
    let fingerprint = story.authority.fingerprint();
    let arguments = ["login", "--authority", url, "--user", "alice", "--fingerprint", fingerprint];
    let arguments = [&arguments[..], &["--password-stdin"], further].concat();
    done(&client.cotter_told(&arguments, PASSWORD)?).map(drop)
}
