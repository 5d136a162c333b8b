//! What is remembered from one command to the next, and what becomes of it.

use anyhow::{Result, ensure};
use lab::{Client, NODE_V6, Place, eventually};

use super::{PASSWORD, Story, alice, done, fails, json, log_in, target, types_password};

/// The same authority under two names, by each of which it is known for itself.
fn names(story: &Story) -> [String; 2] {
    [story.authority.url(), format!("https://{}", story.authority.at(NODE_V6.into()))]
}

#[test]
fn logins_at_two_authorities_at_once_are_both_remembered() -> Result<()> {
    let story = Story::begin()?;
    let (client, names) = (Client::at(&story.lab.alice()), names(&story));
    let fingerprint = story.authority.fingerprint();
    let begin = |at: &str| {
        let login = ["login", "--authority", at, "--user", "alice", "--fingerprint", fingerprint];
        client.cotter_at_terminal(&login)
    };
    let mut first = begin(&names[0])?;
    first.shows("the password is asked for", |screen| screen.contains("Password of alice at"))?;
    let mut second = begin(&names[1])?;
    second.shows("what is waited for", |screen| screen.contains("waiting for it"))?;
    for login in [&mut first, &mut second] {
        types_password(login)?;
        ensure!(login.end()?.success());
    }
    for name in &names {
        done(&client.cotter(&["--authority", name, "status"])?)?;
    }
    Ok(())
}

#[test]
fn a_login_that_ssh_asks_for_leaves_the_usual_authority_and_user_as_they_were() -> Result<()> {
    let story = Story::begin()?;
    let (client, [first, usual]) = (Client::at(&story.lab.alice()), names(&story));
    log_in(&story, &client, &first, &[])?;
    log_in(&story, &client, &usual, &[])?;
    let is_usual = |client: &Client| -> Result<()> {
        let shown = json(&client.cotter(&["status", "--json"])?)?;
        assert_eq!((shown["authority"].as_str(), shown["user"].as_str()), (Some(&*usual), Some("alice")));
        Ok(())
    };
    done(&client.cotter(&["--authority", &first, "login", "--if-needed"])?)?;
    is_usual(&client)?;
    let away = client.moved(&story.lab.elsewhere());
    let mut terminal = away.cotter_at_terminal(&["--authority", &first, "login", "--if-needed"])?;
    types_password(&mut terminal)?;
    ensure!(terminal.end()?.success());
    is_usual(&away)?;
    let words = fails(1, &client.cotter(&["login", "--if-needed", "--user", "bob"])?)?;
    ensure!(words.contains("your certificate is that of alice"), "{words}");
    is_usual(&client)
}

#[test]
fn a_logout_says_that_the_key_stays_where_the_ssh_agent_that_has_it_is_not_to_be_asked() -> Result<()> {
    let story = Story::begin()?;
    let home = story.lab.alice();
    let _agents = ["/root/agent", "/root/other"]
        .map(|path| home.spawn(Place::command("ssh-agent").args(["-D", "-a", path])));
    let (bare, client) = (Client::at(&home), Client::at(&home).with("SSH_AUTH_SOCK", "/root/agent"));
    let other = Client::at(&home).with("SSH_AUTH_SOCK", "/root/other");
    for client in [&client, &other] {
        let empty =
            || Ok(super::output(&client.run("ssh-add", &["-l"])?).contains("no identities").then_some(()));
        eventually("the ssh-agent answers", empty)?;
    }
    log_in(&story, &client, &story.authority.url(), &["--ssh-agent"])?;
    for elsewhere in [&bare, &other] {
        let words = fails(1, &elsewhere.cotter(&["logout"])?)?;
        ensure!(words.contains("the key may still be in an ssh-agent"), "{words}");
        // And nobody is asked for a password that would come to nothing, nor loses what is there.
        let words = fails(1, &elsewhere.cotter(&["status"])?)?;
        ensure!(words.contains("your key is gone"), "{words}");
    }
    let mut terminal = bare.cotter_at_terminal(&["login"])?;
    let shown = terminal.shows("why not", |screen| screen.contains("no ssh-agent runs here"))?;
    ensure!(terminal.end()?.code() == Some(1) && !shown.contains("Password"), "{shown}");
    assert_eq!(done(&client.cotter(&["ssh", &target(), "echo in"])?)?, "in\n");
    done(&client.cotter(&["logout"])?)?;
    fails(1, &client.cotter(&["logout"])?)?;
    log_in(&story, &client, &story.authority.url(), &["--ssh-agent"])?;
    done(&bare.cotter(&["logout", "--force"])?)?;
    fails(1, &client.cotter(&["status"])?).map(drop)
}

#[test]
fn what_a_certificate_says_does_not_steer_the_terminal() -> Result<()> {
    let story = Story::begin()?;
    let client = alice(&story)?;
    let key = client.identity(&story.authority).key;
    let forge = "ssh-keygen -q -t ed25519 -N '' -f /root/any && \
                 ssh-keygen -q -s /root/any -I alice -n \"$(printf 'a\\033[31m\\302\\233b')\" -V +1h \"$0.pub\"";
    story.lab.node().run("sh", &["-c", forge, &key])?;
    let words = done(&client.cotter(&["status"])?)?;
    ensure!(words.contains("a?[31m?b"), "{words:?}");
    ensure!(!words.contains(|it: char| it.is_control() && it != '\n'), "{words:?}");
    // One that cannot be read at all is none.
    story.lab.node().write(format!("{key}-cert.pub"), "no certificate\n")?;
    let words = fails(1, &client.cotter(&["status"])?)?;
    ensure!(words.contains("you are not logged in"), "{words}");
    done(&client.log_in(&story.authority, "alice", PASSWORD)?).map(drop)
}
