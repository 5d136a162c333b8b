//! Programs of others come before ours when ours is there already: it is told, ours goes to the front again or the
//! interface is listed, and theirs go on.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use cotter_agent::datapath::Tables;
use lab::{ALICE, Identity, Lab, eventually, within};
use rustix::process::Signal;
use serde_json::Value;

use super::decider::{Decider, PASS};
use super::{PINS, assert_method, judged, mirror, node_with, pinned_program, told};
use crate::scene::{Scene, text};

/// How long a look may take to come on a busy machine: the agent takes its time between looks that took long.
const PATIENCE: Duration = Duration::from_secs(90);

/// Why `status` lists alice's wire as not covered, if it does.
fn not_covered(scene: &Scene) -> Result<Option<String>> {
    let status = scene.agent.json(&["status"])?;
    let listed = status["not_covered"].as_array().context("no list of what is not covered")?;
    let here = listed.iter().find(|interface| interface["interface"] == ALICE.device);
    here.map(|here| text(here, "why").map(str::to_owned)).transpose()
}

/// Waits until it has been told so often that ours was overtaken, and that it was first again.
fn contested(scene: &Scene, overtaken: usize, first_again: usize) -> Result<()> {
    let expected = [overtaken, first_again];
    within(PATIENCE, &format!("told {expected:?} times"), || {
        let now = [told(scene, "overtaken")?, told(scene, "first_again")?];
        ensure!(now[0] <= overtaken && now[1] <= first_again, "told {now:?} times instead of {expected:?}");
        Ok((now == expected).then_some(()))
    })
}

/// What was in front when ours was overtaken last.
fn overtaken_by(scene: &Scene) -> Result<String> {
    let events = scene.agent.events()?;
    let about = |event: &&Value| event["event"] == "overtaken" && event["interface"] == ALICE.device;
    Ok(events.iter().rfind(about).context("ours was not overtaken")?["by"].to_string())
}

/// Waits until the agent has looked at its interfaces twice from the beginning to the end.
fn looked_at_twice(scene: &Scene) -> Result<()> {
    for host in 1..=3 {
        let address = [198, 51, 99, host];
        let text = Ipv4Addr::from(address).to_string();
        scene.lab.node().run("ip", &["address", "add", &format!("{text}/32"), "dev", "lo"])?;
        eventually("the agent knows the new address", || {
            let tables = scene.lab.node().enter(|| Tables::open(PINS.as_ref()))??;
            Ok(tables.local()?.contains(&Ipv4Addr::from(address).into()).then_some(()))
        })?;
    }
    Ok(())
}

/// The ids of the TCX programs on alice's wire, in their order.
fn in_line(scene: &Scene) -> Result<Vec<u32>> {
    scene.lab.node().enter(|| {
        let (_revision, programs) = SchedClassifier::query_tcx(ALICE.device, TcAttachType::Ingress)?;
        Ok(programs.iter().map(|program| program.id()).collect())
    })?
}

/// Ours judges what alice sends, and the foreign program sees what ours lets pass.
fn both_at_work(scene: &Scene, alice: &Identity, decider: &Decider) -> Result<()> {
    let (before, _others) = judged(scene, alice, || decider.seen())?;
    ensure!(before > 10, "the foreign program has seen only {before} packets of a login");
    Ok(())
}

#[test]
fn a_tcx_program_that_comes_before_ours_and_decides_alone_comes_behind_it() -> Result<()> {
    comes_behind_ours_at_tcx(Lab::start()?)
}

#[test]
fn by_the_unit_a_tcx_program_of_others_comes_behind_ours_just_so() -> Result<()> {
    comes_behind_ours_at_tcx(Lab::with_systemd()?)
}

/// What the agent calls the decider: names of programs of others are for those who have CAP_SYS_ADMIN.
fn name(lab: &Lab) -> &'static str {
    if lab.has_systemd() { "no name known" } else { "decider" }
}

fn comes_behind_ours_at_tcx(lab: Lab) -> Result<()> {
    let name = name(&lab);
    let scene = &node_with(lab, &[r#"attach = "tc""#])?;
    assert_method(scene, ALICE.device, "tcx")?;
    let (ours, alice) = (pinned_program(scene, PINS)?, scene.alice()?);
    let mut decider = Decider::load(scene.lab.node(), PASS)?;
    let theirs = decider.id()?;
    for times in 1..=2 {
        decider.at_tcx(ALICE.device, LinkOrder::first())?;
        contested(scene, times, times)?;
        assert_eq!(overtaken_by(scene)?, format!(r#"["TCX program {theirs} ({name})"]"#));
        eventually("ours comes first and has left its old place", || {
            let line = in_line(scene)?;
            ensure!(line.first() == Some(&ours), "{line:?}");
            Ok((line == [ours, theirs]).then_some(()))
        })?;
        both_at_work(scene, &alice, &decider)?;
    }
    assert_eq!(not_covered(scene)?, None);
    assert_method(scene, ALICE.device, "tcx")
}

#[test]
fn a_fight_for_the_first_place_ends_with_the_interface_being_listed() -> Result<()> {
    let scene = node_with(Lab::start()?, &[r#"attach = "tc""#])?;
    let mut decider = Decider::load(scene.lab.node(), PASS)?;
    for times in 1..=3 {
        decider.at_tcx(ALICE.device, LinkOrder::first())?;
        contested(&scene, times, times)?;
    }
    decider.at_tcx(ALICE.device, LinkOrder::first())?;
    contested(&scene, 4, 3)?;
    looked_at_twice(&scene)?;
    contested(&scene, 4, 3)?;
    let (ours, theirs) = (pinned_program(&scene, PINS)?, decider.id()?);
    assert_eq!(in_line(&scene)?, [theirs, ours]);
    assert_method(&scene, ALICE.device, "tcx")?;
    let name = name(&scene.lab);
    let why =
        format!("programs of others come before ours and may decide alone: TCX program {theirs} ({name})");
    assert_eq!(not_covered(&scene)?, Some(why));

    decider.leave_tcx(ALICE.device)?;
    contested(&scene, 4, 4)?;
    assert_eq!(not_covered(&scene)?, None);
    judged(&scene, &scene.alice()?, || Ok(0)).map(drop)
}

#[test]
fn a_filter_that_comes_before_ours_and_decides_alone_comes_behind_it() -> Result<()> {
    let scene = node_with(Lab::start()?, &[r#"attach = "tc""#, r#"tc_hook = "clsact""#])?;
    let mut decider = Decider::load(scene.lab.node(), PASS)?;
    decider.at_clsact(ALICE.device, 1)?;
    contested(&scene, 1, 1)?;
    let theirs = format!(r#"["clsact filter bpf of priority 1 (program {})"]"#, decider.id()?);
    assert_eq!(overtaken_by(&scene)?, theirs);
    both_at_work(&scene, &scene.alice()?, &decider)?;
    assert_eq!(not_covered(&scene)?, None);
    assert_method(&scene, ALICE.device, "clsact")
}

#[test]
fn a_filter_that_keeps_its_place_before_ours_is_told_and_listed_until_it_goes() -> Result<()> {
    let lab = Lab::start()?;
    lab.node().run("ip", &["link", "add", "spare", "type", "veth", "peer", "name", "unused"])?;
    mirror(lab.node(), ALICE.device, "1", "pass")?;
    let scene = node_with(lab, &[r#"attach = "tc""#, r#"tc_hook = "clsact""#])?;
    contested(&scene, 1, 0)?;
    looked_at_twice(&scene)?;
    contested(&scene, 1, 0)?;
    let filter = "clsact filter u32 of priority 1";
    assert_eq!(overtaken_by(&scene)?, format!(r#"["{filter}"]"#));
    assert!(not_covered(&scene)?.is_some_and(|why| why.ends_with(filter)));
    assert_method(&scene, ALICE.device, "clsact")?;

    scene.lab.node().run("tc", &["filter", "del", "dev", ALICE.device, "ingress", "pref", "1"])?;
    contested(&scene, 1, 1)?;
    assert_eq!(not_covered(&scene)?, None);
    let alice = scene.alice()?;
    judged(&scene, &alice, || Ok(0))?;

    // In the place that it has left one comes that ours can step before.
    let mut decider = Decider::load(scene.lab.node(), PASS)?;
    decider.at_clsact(ALICE.device, 1)?;
    contested(&scene, 2, 2)?;
    both_at_work(&scene, &alice, &decider)
}

#[test]
fn ours_at_clsact_goes_to_tcx_where_a_program_there_comes_before_it() -> Result<()> {
    let scene = node_with(Lab::start()?, &[r#"attach = "tc""#, r#"tc_hook = "clsact""#])?;
    let node = scene.lab.node();
    let mut decider = Decider::load(node, PASS)?;
    decider.at_tcx(ALICE.device, LinkOrder::first())?;
    contested(&scene, 1, 0)?;
    // The configuration wants it at clsact, so there it stays.
    assert_method(&scene, ALICE.device, "clsact")?;
    let known_as = format!("({})", name(&scene.lab));
    assert!(not_covered(&scene)?.is_some_and(|why| why.ends_with(&known_as)));
    decider.leave_tcx(ALICE.device)?;
    contested(&scene, 1, 1)?;
    assert_eq!(not_covered(&scene)?, None);

    let config = node.read("/etc/cotter/agent.toml")?;
    node.write("/etc/cotter/agent.toml", &config.replace(r#"tc_hook = "clsact""#, ""))?;
    scene.agent.signal(Signal::HUP)?;
    scene.agent.event("the new configuration", |event| event["event"] == "reloaded")?;
    assert_method(&scene, ALICE.device, "clsact")?;
    decider.at_tcx(ALICE.device, LinkOrder::first())?;
    contested(&scene, 2, 2)?;
    assert_method(&scene, ALICE.device, "tcx")?;
    assert_eq!(in_line(&scene)?, [pinned_program(&scene, PINS)?, decider.id()?]);
    both_at_work(&scene, &scene.alice()?, &decider)
}
