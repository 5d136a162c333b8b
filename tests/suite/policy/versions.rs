//! What an authority of the next version publishes, at a node of this one.

use anyhow::{Context, Result, ensure};
use cotter_api::NAMESPACE;
use serde_json::{Value, json};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::{KEPT, Story, following};
use crate::scene::text;

const NEXT: &str = include_str!("../../../api/tests/next/policy.json");
/// What the authority signs policies with.
const SIGNER: &str = "/var/lib/cotter-authority/policy";

impl Story {
    /// Puts another document in the place of the one that the node keeps, signed by the authority, which is away.
    fn keeps(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let node = self.lab.node();
        let kept: Value = serde_json::from_str(&node.read(KEPT)?)?;
        let kept: Value = serde_json::from_str(text(&kept, "document")?)?;
        let mut next: Value = serde_json::from_str(NEXT)?;
        next["user_ca"] = kept["user_ca"].clone();
        next["version"] = (kept["version"].as_u64().context("no version")? + 1).into();
        change(&mut next);
        let document = next.to_string();
        let signer = PrivateKey::from_openssh(node.read(SIGNER)?)?;
        let signature =
            signer.sign(NAMESPACE, HashAlg::Sha512, document.as_bytes())?.to_pem(LineEnding::LF)?;
        self.authority.kill9()?;
        self.agent.stop()?;
        node.write(KEPT, &json!({ "document": document, "signature": signature }).to_string())?;
        self.agent.start()
    }
}

#[test]
fn a_policy_of_the_next_version_counts_as_far_as_it_is_understood() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    assert_eq!(login.succeed("echo in")?, "in\n");
    story.keeps(|_| ())?;
    assert_eq!(story.locks()?, 2, "those that are understood");
    story.denied(&login, "locked")?;
    let status = following(&story.agent)?;
    ensure!(!story.agent.log()?.contains("is not in force"), "{status}");
    let left_out = status["left_out"].as_array().context("no list")?;
    for name in ["cluster word.example.com", "cluster unless.example.com", "role file at-night.yaml"] {
        ensure!(
            left_out.iter().any(|it| it.as_str().is_some_and(|it| it.contains(name))),
            "{name}: {status}"
        );
    }
    let clusters = story.agent.json(&["status"])?["clusters"].to_string();
    ensure!(clusters.contains("root.example.com") && !clusters.contains("word.example.com"), "{clusters}");
    Ok(())
}

#[test]
fn without_her_lock_alice_gets_in_by_a_policy_of_the_next_version() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    story.keeps(|next| next["locks"] = json!([{ "id": "2", "target": { "device": "x" } }]))?;
    assert_eq!(login.succeed("echo in")?, "in\n");
    Ok(())
}

#[test]
fn of_a_format_that_is_not_known_the_locks_count_and_nobody_gets_in_by_its_rules() -> Result<()> {
    let mut story = Story::begin()?;
    let login = story.alice()?;
    story.keeps(|next| next["format"] = 2.into())?;
    assert_eq!(story.locks()?, 2);
    let log = story.agent.log()?;
    ensure!(
        log.contains("is not in force") && log.contains("a newer version of this program is needed"),
        "{log}"
    );
    ensure!(!login.run("true")?.status.success(), "no rules are in force");
    Ok(())
}
