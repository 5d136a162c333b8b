//! `sessions`: who is on the node, from where, and what the kernel dropped of them.

use super::exit::Failure;
use super::{Common, Exit, client, coverage, output};
use crate::audit::Subject;
use crate::config::Places;
use crate::daemon::call::{Answer, Call, EndpointStatus, SessionList, SessionStatus};
use crate::session::snapshot;
use std::collections::BTreeSet;

pub(super) fn sessions(common: &Common) -> Result<Exit, Failure> {
    match client::call(common, &Call::Sessions) {
        Ok(Answer::Sessions(list)) => {
            show(common, &list);
            Ok(Exit::Done)
        }
        Ok(other) => Err(client::unexpected(&other)),
        Err(unavailable) => from_the_kernel(common, unavailable),
    }
}

/// The kernel's maps are the session database: they answer for an agent that is dead, to those who may open them.
fn from_the_kernel(common: &Common, unavailable: Failure) -> Result<Exit, Failure> {
    let Ok(sessions) = snapshot::sessions(&Places::of(&common.config).bpf_pin_dir) else {
        return Err(unavailable);
    };
    show(common, &SessionList { sessions, unmanaged: Vec::new() });
    if !common.json {
        eprintln!("cotter-agent: the agent does not run; this is what the kernel enforces");
    }
    Ok(Exit::Unavailable)
}

fn show(common: &Common, list: &SessionList) {
    if common.json {
        return output::json(list);
    }
    if list.sessions.is_empty() {
        output::line("no sessions");
    } else {
        let headings = [
            "SESSION",
            "USER",
            "LOGIN",
            "FROM",
            "PINNED TO",
            "SINCE",
            "ENDS",
            "STATE",
            "DROPPED",
            "ENDPOINTS",
        ];
        output::table(&headings, list.sessions.iter().map(row).collect());
    }
    for connection in &list.unmanaged {
        output::line(&format!("unmanaged: {} -> {}", connection.peer, connection.local));
    }
}

fn row(session: &SessionStatus) -> Vec<String> {
    let (record, subject) = (&session.record, &session.record.subject);
    vec![
        record.id.to_string(),
        output::person(subject),
        subject.login.clone().unwrap_or_default(),
        observed(subject),
        if subject.pinned.is_empty() { "-".to_owned() } else { subject.pinned.join(",") },
        output::time(record.opened_at),
        record.ends_at.map_or_else(|| "-".to_owned(), output::time),
        session.state.clone(),
        session.dropped.to_string(),
        endpoints(&session.endpoints),
    ]
}

/// Where it is from; and how that is known, unless it is seen.
fn observed(subject: &Subject) -> String {
    let address = subject.observed.clone().unwrap_or_default();
    match subject.observed_how.as_deref() {
        None | Some("direct") => address,
        Some(how) => format!("{address} ({how})"),
    }
}

/// What it has opened, such as `udp/60001`; of many the first few.
fn endpoints(endpoints: &[EndpointStatus]) -> String {
    let listed: BTreeSet<(&str, u16)> =
        endpoints.iter().map(|it| (it.protocol.as_str(), it.local.port())).collect();
    let listed: Vec<String> =
        listed.into_iter().map(|(protocol, port)| format!("{protocol}/{port}")).collect();
    if listed.is_empty() { "-".to_owned() } else { coverage::folded(&listed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn of_many_endpoints_the_first_few_are_shown_and_each_port_once() {
        let shown = |ports: &[u16]| {
            let endpoint = |port: &u16| EndpointStatus {
                protocol: "udp".to_owned(),
                local: (Ipv4Addr::UNSPECIFIED, *port).into(),
            };
            endpoints(&ports.iter().map(endpoint).collect::<Vec<_>>())
        };
        assert_eq!(shown(&[]), "-");
        assert_eq!(shown(&[60_001, 9_000, 60_001]), "udp/9000, udp/60001");
        let all: Vec<u16> = (1..=u16::MAX).collect();
        assert_eq!(shown(&all), "udp/1, udp/2, udp/3, udp/4, udp/5, udp/6 and 65529 more");
    }
}
