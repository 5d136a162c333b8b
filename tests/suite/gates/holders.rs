//! Who holds a gate open: several sessions at an address, several addresses of one bit, a session that roams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agent_ebpf::{Address, PrefilterBits};
use anyhow::{Context, Result, ensure};
use lab::{ALICE, Mosh, NODE_V6, Order, eventually, move_to};

use super::{Gated, KEEPER, WEB, connects, reaches};
use crate::scene::{AT_ALICE, PINNING};

#[test]
fn of_two_sessions_at_an_address_each_holds_the_gate_open() -> Result<()> {
    let gated = Gated::new()?;
    let alice = gated.scene.alice()?;
    let mut first = gated.scene.at_alice(&alice).stay()?;
    let mut second = gated.scene.at_alice(&alice).stay()?;
    gated.opens_to_alice(WEB)?;
    first.hang_up()?;
    eventually("the first is closed", || Ok((gated.scene.sessions()?.len() == 1).then_some(())))?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "the second opens nothing");
    second.hang_up()?;
    gated.shuts_to_alice(WEB)
}

#[test]
fn of_more_sessions_than_a_grant_names_any_holds_the_gate_open() -> Result<()> {
    let gated = Gated::new()?;
    let keeper = gated.alice_as(KEEPER, AT_ALICE)?;
    let mut last = gated.scene.at_alice(&keeper).stay()?;
    let alice = gated.scene.alice()?;
    let others = (0..agent_ebpf::Grant::SESSIONS + 1).map(|_| gated.scene.at_alice(&alice).stay());
    let others = others.collect::<Result<Vec<_>>>()?;
    // What only one of them opens stays open, and what all open is not shut by those that end.
    gated.opens_to_alice(super::DATABASE)?;
    for mut other in others {
        other.hang_up()?;
    }
    eventually("the others are closed", || Ok((gated.scene.sessions()?.len() == 1).then_some(())))?;
    ensure!(reaches(&gated.scene.lab.alice(), WEB)?, "the last one opens nothing");
    last.hang_up()?;
    gated.shuts_to_alice(WEB)
}

#[test]
fn taking_one_grant_away_never_closes_anothers() -> Result<()> {
    let gated = Gated::new()?;
    let twin = twin(ALICE.v4.into()).context("no address shares the bit")?;
    let host = gated.scene.lab.alice();
    host.run(
        "ip",
        &["address", "add", &format!("{twin}/64"), "dev", "eth0", "nodad", "preferred_lft", "forever"],
    )?;
    host.run("ip", &["-6", "address", "del", &format!("{}/64", ALICE.v6), "dev", "eth0"])?;

    let alice = gated.scene.alice()?;
    let by_v4 = gated.scene.at_alice(&alice);
    let twins = gated.alice_as(PINNING, &format!("{twin}/128"))?;
    let by_v6 = gated.scene.at_alice(&twins).to(NODE_V6.into());
    let mut session = by_v6.stay()?;
    eventually("it opens over IPv6", || Ok(connects(&host, NODE_V6.into(), WEB)?.then_some(())))?;
    gated.scene.ca.certify(
        &alice,
        &Order { options: &[PINNING], ..Order::login("alice", &["alice"]) }.pinned(AT_ALICE),
    )?;
    let mut other = by_v4.stay()?;
    gated.opens_to_alice(WEB)?;
    other.hang_up()?;
    gated.shuts_to_alice(WEB)?;
    eventually("its grant is gone", || {
        Ok((gated.scene.agent.json(&["status"])?["grants"] == 1).then_some(()))
    })?;
    ensure!(connects(&host, NODE_V6.into(), WEB)?, "the grant of {twin} went with that of {}", ALICE.v4);
    session.hang_up()?;
    eventually("it shuts over IPv6", || Ok((!connects(&host, NODE_V6.into(), WEB)?).then_some(())))
}

/// An IPv6 address in alice's network that has a bit of the prefilter in common.
fn twin(address: IpAddr) -> Option<Ipv6Addr> {
    let bits = |address: IpAddr| PrefilterBits::of(Address::from(address));
    let its = bits(address);
    let is_twin = |other: PrefilterBits| other.word() == its.word() && other.mask() & its.mask() != 0;
    let network = ALICE.v6.to_bits() & !u128::from(u64::MAX);
    let candidates = (2..1 << 26).map(|host| Ipv6Addr::from_bits(network | host));
    candidates.into_iter().find(|twin| is_twin(bits(IpAddr::from(*twin))))
}

#[test]
fn a_session_that_roams_opens_gates_where_it_is_and_no_longer_where_it_was() -> Result<()> {
    const MOVED: Ipv4Addr = Ipv4Addr::new(198, 51, 111, 77);
    const FOLLOWING: &str = r#"extension:roles@cotter=["following"]"#;
    let follows = &["pin_source_ip: true", "on_new_address: follow"];
    let gated = Gated::with("enforce", |agent| agent.last(super::GATES).role("following", follows))?;
    let alice = gated.alice_as(FOLLOWING, AT_ALICE)?;
    let mut mosh = Mosh::start(&gated.scene.at_alice(&alice))?;
    eventually("her connection is closed", || {
        Ok((gated.scene.session_of("alice")?["flows"] == 0).then_some(()))
    })?;
    // Its datagrams are use enough.
    gated.opens_to_alice(WEB)?;

    move_to(&gated.scene.lab.alice(), MOVED)?;
    gated.shuts_to_alice(WEB)?;
    let order = Order { options: &[FOLLOWING], ..Order::login("alice", &["alice"]) };
    gated.scene.ca.certify(&alice, &order.pinned(&format!("{MOVED}/32")))?;
    gated.scene.at_alice(&alice).succeed("true")?;
    mosh.types("moved")?;
    mosh.shows("moved")?;
    gated.opens_to_alice(WEB)?;
    move_to(&gated.scene.lab.alice(), ALICE.v4)?;
    gated.shuts_to_alice(WEB)
}
