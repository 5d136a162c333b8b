//! Hosts on the way to others, and the programs that run ssh.

use anyhow::{Result, ensure};
use lab::{Client, NODE_V4, NODE_V6, eventually};

use super::{PASSWORD, Story, done, fails, log_in, output, target, types_password_of};

/// Another of the node's addresses: ssh goes by way of no address twice.
const GATEWAY: &str = "198.51.111.254";

/// Roles that pin nothing: a host behind another sees that one's address.
fn unpinned() -> Result<(Story, Client)> {
    let story = Story::with(|setup| setup.role("anywhere", &["max_session_ttl: 1h"]))?;
    story.authority.add("bob", PASSWORD, &["--role", "anywhere"])?;
    let client = Client::at(&story.lab.alice());
    done(&client.log_in(&story.authority, "bob", PASSWORD)?)?;
    Ok((story, client))
}

#[test]
fn hosts_on_the_way_are_shown_the_certificate_too() -> Result<()> {
    let (story, client) = unpinned()?;
    let (jump, node) = (format!("bob@{NODE_V4}"), format!("bob@{NODE_V6}"));
    let from_the_jump_host = |shown: String| -> Result<()> {
        ensure!(shown.starts_with(&format!("{NODE_V6} ")), "{shown}");
        Ok(())
    };
    let ask = "echo $SSH_CONNECTION";
    from_the_jump_host(done(&client.cotter(&["ssh", "-J", &jump, &node, ask])?)?)?;
    let both = format!("bob@{GATEWAY},{jump}");
    from_the_jump_host(done(&client.cotter(&["ssh", "-J", &both, &node, ask])?)?)?;

    let inner = format!("Host inner\n    HostName {NODE_V6}\n    User bob\n    ProxyJump {jump}\n");
    story.lab.node().write("/root/.ssh/config", &inner)?;
    from_the_jump_host(done(&client.cotter(&["ssh", "inner", ask])?)?)?;
    let words = fails(255, &client.cotter(&["ssh", "nobody@inner", ask])?)?;
    ensure!(words.contains("if the node refused you"), "{words}");

    let snippet = done(&client.cotter(&["ssh-config"])?)?;
    story.lab.node().write("/root/.ssh/config", &format!("{inner}{snippet}"))?;
    from_the_jump_host(done(&client.run("ssh", &["inner", ask])?)?)?;
    from_the_jump_host(done(&client.cotter(&["ssh", "inner", ask])?)?)?;
    // A configuration of one's own counts as it stands.
    story.lab.node().write("/root/own", &format!("{inner}{snippet}Include /etc/ssh/ssh_config\n"))?;
    from_the_jump_host(done(&client.cotter(&["ssh", "-F", "/root/own", "inner", ask])?)?)
}

#[test]
fn git_and_ansible_go_on_by_the_snippet_when_the_certificate_has_expired() -> Result<()> {
    let story = Story::with(|setup| setup.role("brief", &["pin_source_ip: true", "max_session_ttl: 30s"]))?;
    let node = story.lab.node();
    // Ansible wants characters.
    let home = Client::at(&story.lab.alice()).with("LC_ALL", "C.UTF-8");
    story.authority.add("brief", PASSWORD, &["--login", "alice", "--role", "brief"])?;
    let repository = "cd && git init -q --bare repo && git clone -q repo work 2>&1 && cd work && git -c user.name=a -c \
                      user.email=a@example.com commit -q --allow-empty -m one && git push -q origin HEAD";
    done(&Client::at(node).of("alice").run("sh", &["-c", repository])?)?;
    let repository = format!("{}:repo", target());
    let ansible = ["all", "-i", &format!("{NODE_V4},"), "-u", "alice", "-m", "command", "-a", "echo in 42"];

    done(&home.log_in(&story.authority, "brief", PASSWORD)?)?;
    node.write("/root/.ssh/config", &done(&home.cotter(&["ssh-config", &NODE_V4.to_string()])?)?)?;
    done(&home.run("git", &["clone", "-q", &repository, "/root/clone"])?)?;
    assert_eq!(done(&home.run("git", &["-C", "/root/clone", "log", "--format=%s"])?)?, "one\n");
    eventually("the certificate is of no use", || {
        let status = home.cotter(&["status"])?;
        Ok(output(&status).contains("has expired").then_some(()))
    })?;
    let words = fails(1, &home.run("git", &["-C", "/root/clone", "pull", "-q"])?)?;
    ensure!(words.contains("your certificate has expired"), "{words}");
    let mut pull = home.at_terminal("git", &["-C", "/root/clone", "pull"])?;
    types_password_of("brief", &mut pull)?;
    pull.shows("what git says", |screen| screen.contains("up to date"))?;
    ensure!(pull.end()?.success());

    // It takes ssh's standard input and error for itself, and keeps a connection for the next call.
    done(&home.cotter(&["logout"])?)?;
    let words = fails(4, &home.run("ansible", &ansible)?)?;
    ensure!(words.contains("you are not logged in"), "{words}");
    let mut again = home.at_terminal("ansible", &ansible)?;
    types_password_of("brief", &mut again)?;
    again.shows("the command's own words", |screen| screen.contains("in 42"))?;
    ensure!(again.end()?.success());
    done(&home.cotter(&["logout"])?)?;
    let words = done(&home.run("ansible", &ansible)?)?;
    ensure!(words.contains("rc=0") && words.contains("in 42"), "{words}");
    Ok(())
}

#[test]
fn an_account_without_any_privileges_logs_in_and_gets_in() -> Result<()> {
    let story = Story::begin()?;
    let client = Client::at(&story.lab.alice()).of("alice");
    log_in(&story, &client, &story.authority.url(), &[])?;
    assert_eq!(done(&client.cotter(&["ssh", &target(), "echo in"])?)?, "in\n");
    let found = story.lab.node().run("find", &["/home/alice/.local/state/cotter", "!", "-user", "alice"])?;
    assert_eq!(found, "");
    let modes = ["/home/alice/.local/state/cotter", "-printf", "%m %y\n"];
    let modes = story.lab.node().run("find", &modes)?;
    ensure!(modes.lines().all(|line| line == "700 d" || line == "600 f"), "{modes}");
    // Root, with the home of hers, leaves it alone.
    let root = Client::at(&story.lab.alice()).with("HOME", "/home/alice");
    let words = fails(2, &root.cotter(&["status"])?)?;
    ensure!(words.contains("belongs to another account"), "{words}");
    done(&client.cotter(&["logout"])?).map(drop)
}
