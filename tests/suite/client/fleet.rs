//! What an administrator sets for everybody on a machine.

use anyhow::{Result, ensure};
use lab::Client;

use super::{Story, done, fails, target, types_password};

const FILE: &str = "/etc/cotter/client.toml";

#[test]
fn where_an_administrator_names_the_authority_people_need_to_know_nothing() -> Result<()> {
    let story = Story::begin()?;
    let (node, url) = (story.lab.node(), story.authority.url());
    let client = Client::at(&story.lab.alice()).of("alice");
    let says = |fingerprint: &str| {
        node.write(FILE, &format!("authority   = \"{url}\"\nfingerprint = \"{fingerprint}\"\n"))
    };
    says(story.authority.fingerprint())?;
    let words = fails(1, &client.cotter(&["ssh", &target(), "echo in"])?)?;
    ensure!(words.contains("you are not logged in") && words.contains("run `cotter login`"), "{words}");
    let mut terminal = client.cotter_at_terminal(&["ssh", &target(), "echo in $((40 + 2))"])?;
    let shown = types_password(&mut terminal)?;
    ensure!(
        shown.contains("you are not logged in; logging in again") && !shown.contains("not known"),
        "{shown}"
    );
    terminal.shows("the command's own words", |screen| screen.contains("in 42"))?;
    ensure!(terminal.end()?.success());

    // What it says counts anew each time, for who has logged in before, too.
    says(&format!("SHA256:{}", "00".repeat(32)))?;
    let words = fails(1, &client.cotter(&["ssh", &target(), "echo in"])?)?;
    ensure!(words.contains("NOT THE AUTHORITY YOU KNOW"), "{words}");
    says(story.authority.fingerprint())?;
    assert_eq!(done(&client.cotter(&["ssh", &target(), "echo in"])?)?, "in\n");

    // What people say themselves comes first, and stays.
    says(&format!("SHA256:{}", "00".repeat(32)))?;
    super::log_in(&story, &client, &url, &[])?;
    done(&client.cotter(&["status"])?)?;
    node.write(FILE, &format!("authority = \"{url}\"\nfingerprnt = \"\"\n"))?;
    let words = fails(2, &client.cotter(&["status"])?)?;
    ensure!(words.contains("/etc/cotter/client.toml:2: unknown field"), "{words}");
    Ok(())
}
