//! Why a gate does not open to somebody, in words.

use crate::datapath::{Error, Tables, now};
use agent_ebpf::{Address, GatedPort, Gates, Grant, Session, SessionId, SessionState};
use std::net::IpAddr;

/// Why no gate before a port opens to an address that has no grant for it.
pub(super) fn why_shut(tables: &Tables, from: IpAddr, port: GatedPort) -> Result<String, Error> {
    let (address, gates) = (Address::from(from), tables.gates()?.remove(&port).unwrap_or_default());
    let grant = tables.grant(address)?;
    let mut sessions = Vec::new();
    for id in grant.iter().flat_map(Grant::sessions).filter(|id| **id != SessionId::NONE) {
        sessions.push(format!("session {id} {}", why_not(tables, *id, address, gates)?));
    }
    if sessions.len() == Grant::SESSIONS {
        sessions.push("the kernel asks no more than these".to_owned());
    }
    if sessions.is_empty() {
        return Ok(format!("a gate stands before that port, and no live session is pinned to {from}"));
    }
    Ok(format!("a gate stands before that port, and does not open to {from}: {}", sessions.join("; ")))
}

/// The conditions of the verdict, in its order.
fn why_not(tables: &Tables, id: SessionId, source: Address, gates: Gates) -> Result<&'static str, Error> {
    let Some(session) = tables.session(id)? else { return Ok("is over") };
    Ok(if !session.gates().has_any(gates) {
        "has none of the roles that open it"
    } else if session.state() == SessionState::Cut {
        "was cut"
    } else if session.is_over(now) {
        "has come to its end"
    } else if session.is_unpinned() || !session.admits(source) {
        "is pinned elsewhere"
    } else if is_left_behind(tables, id, &session)? {
        "was left behind: its connection is closed, and its endpoints were not used for five minutes"
    } else {
        "opens it by now"
    })
}

fn is_left_behind(tables: &Tables, id: SessionId, session: &Session) -> Result<bool, Error> {
    let is_idle = || Ok(Grant::is_idle(tables.last_use(id)?, now()));
    if tables.is_connected(session.connection())? { Ok(false) } else { is_idle() }
}
