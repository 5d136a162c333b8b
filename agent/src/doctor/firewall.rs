//! Rules of the firewall that send packets on to a login port. The programs see a packet before such a rule does: with
//! another port or address in it, so nothing holds who logs in by it.

use std::io;

use super::redirection::{Reach, Redirection};
use super::{Finding, Node, PATIENCE, iptables, nft};
use crate::command;
use crate::interfaces;

const ID: &str = "redirected-port";
/// What cannot be told.
const UNCLEAR: &str = "firewall";

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Ok(config) = &node.config else { return Vec::new() };
    if !node.is_open() {
        return Vec::new();
    }
    let local = interfaces::list().map(|all| interfaces::addresses(&all)).unwrap_or_default();
    let mut found = Vec::new();
    for (program, asked) in [
        ("nft", ask_nft()),
        ("iptables-save", ask_iptables("iptables-save")),
        ("ip6tables-save", ask_iptables("ip6tables-save")),
    ] {
        match asked {
            Ok(all) => found.extend(
                all.iter().filter_map(|one| reaching(program, one, one.reaches(&local, &config.login_ports))),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("the firewall's rules cannot be read: {program}: {error}");
                found.push(Finding::warning(UNCLEAR, what, "see that no rule sends packets to a login port"));
            }
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(ID, "no rule of nft or iptables sends packets to a login port"));
    }
    found
}

fn reaching(program: &str, redirection: &Redirection, reach: Reach) -> Option<Finding> {
    let rule = &redirection.rule;
    match reach {
        Reach::No => None,
        Reach::Perhaps => {
            let what = format!("where a rule of {program} sends others' packets cannot be told: {rule}");
            Some(Finding::warning(UNCLEAR, what, "see that it does not send them to a login port"))
        }
        Reach::Yes => {
            let what = format!("{program} has a rule that sends others' packets to a login port: {rule}");
            let remedy = "have sshd listen on that port itself, and name it in login_ports";
            Some(Finding::error(ID, what, remedy))
        }
    }
}

fn ask_nft() -> io::Result<Vec<Redirection>> {
    let printed = command::text(command::program("nft").args(["--json", "list", "ruleset"]), PATIENCE)?;
    nft::redirections(&printed).map_err(io::Error::other)
}

/// All tables that are there: to ask for one by name would make it.
fn ask_iptables(program: &str) -> io::Result<Vec<Redirection>> {
    let printed = command::text(&mut command::program(program), PATIENCE)?;
    Ok(iptables::redirections(&printed))
}
