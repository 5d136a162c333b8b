//! Roles from the command line: all of it or nothing.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{PASSWORD, Story, output};

const NEW: &str = "/root/new.yaml";

fn role(name: &str, options: &str) -> String {
    format!("kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {{options: {{{options}}}}}\n")
}

#[test]
fn a_role_that_is_applied_counts_from_the_next_reload_and_one_that_is_wrong_changes_nothing() -> Result<()> {
    let story = Story::begin("")?;
    let (node, home) = (story.lab.node(), story.lab.alice());
    story.authority.add("bob", PASSWORD, &["--role", "open"])?;
    let applied = |text: &str| {
        node.write(NEW, text)?;
        story.authority.told(&["role", "apply", NEW], "")
    };
    let before = node.read("/etc/cotter/roles.d/open.yaml")?;
    for (wrong, said) in [
        (role("open", "pin_source_pi: true"), "new.yaml:4:"),
        (role("a/b", ""), "cannot be a file's name"),
        (format!("{}---\n{}", role("one", ""), role("two", "")), "one role a file"),
    ] {
        let refused = applied(&wrong)?;
        assert_eq!(refused.status.code(), Some(1), "{wrong}");
        ensure!(output(&refused).contains(said), "{}", output(&refused));
    }
    assert_eq!(node.run("ls", &["/etc/cotter/roles.d"])?, "open.yaml\npinned-ip.yaml\n");
    assert_eq!(node.read("/etc/cotter/roles.d/open.yaml")?, before);

    let done = applied(&role("open", "pin_source_ip: true"))?;
    ensure!(done.status.success(), "{}", output(&done));
    let unpinned = story.authority.log_in(&home, "bob", PASSWORD)?;
    ensure!(output(&unpinned).contains("pinned     no"), "{}", output(&unpinned));
    story.authority.signal(Signal::HUP)?;
    story.authority.event("the reload", |event| event["event"] == "reloaded")?;
    let pinned = story.authority.log_in(&home, "bob", PASSWORD)?;
    ensure!(output(&pinned).contains("198.51.111.1/32"), "{}", output(&pinned));
    Ok(())
}
