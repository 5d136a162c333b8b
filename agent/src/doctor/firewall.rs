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
    let local = interfaces::list().map(|all| interfaces::addresses(&all)).ok();
    let mut found = Vec::new();
    for (program, asked) in ask_all() {
        match asked {
            Ok(all) => {
                found.extend(all.iter().filter_map(|one| {
                    reaching(program, one, one.reaches(local.as_ref(), &config.login_ports))
                }))
            }
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

/// The rules of each program. Those in the tables of old are shown by iptables-legacy-save alone, unless it is what
/// iptables-save stands for.
fn ask_all() -> Vec<(&'static str, io::Result<Vec<Redirection>>)> {
    let mut all = vec![("nft", ask_nft())];
    for (program, legacy) in
        [("iptables-save", "iptables-legacy-save"), ("ip6tables-save", "ip6tables-legacy-save")]
    {
        let (asked, old) = (ask_iptables(program), ask_iptables(legacy));
        let is_same = matches!((&asked, &old), (Ok(asked), Ok(old)) if asked == old);
        all.push((program, asked));
        if !is_same {
            all.push((legacy, old));
        }
    }
    all
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
