//! `status`: in one screen, what is in force.

use super::exit::Failure;
use super::{Common, Exit, client, mode, output};
use crate::daemon::call::{Answer, Call, Status};

pub(super) fn status(common: &Common) -> Result<Exit, Failure> {
    let answer = client::call(common, &Call::Status)?;
    let Answer::Status(status) = answer else { return Err(client::unexpected(&answer)) };
    if common.json {
        output::json(&status);
    } else {
        show(&status);
    }
    Ok(Exit::Done)
}

fn show(status: &Status) {
    let ports: Vec<String> = status.login_ports.iter().map(u16::to_string).collect();
    let rows = [
        (
            "agent",
            format!("{}, pid {}, since {}", status.version, status.pid, output::time(status.started_at)),
        ),
        ("took over", status.takeover.clone()),
        ("mode", mode::sentence(&status.mode)),
        ("configuration", status.config_hash.clone()),
        ("login ports", ports.join(", ")),
        ("sessions", format!("{} of at most {}", status.sessions, status.max_sessions)),
        ("unmanaged", status.unmanaged.to_string()),
        ("locks", status.locks.to_string()),
        ("penalties", status.penalties.to_string()),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:<14} {value}"));
    }
    if let Some(error) = &status.reload_error {
        output::line(&format!("{:<14} {error}", "not reloaded"));
    }
    for attachment in &status.attachments {
        output::line(&format!("{:<14} {} by {}", "attached", attachment.interface, attachment.method));
    }
    for interface in &status.not_covered {
        output::line(&format!("{:<14} {}: {}", "not covered", interface.interface, interface.why));
    }
    let counted = status.packets.iter().filter(|count| count.packets + count.overruled > 0);
    let rows = counted.map(|it| {
        vec![it.reason.clone(), it.action.clone(), it.packets.to_string(), it.overruled.to_string()]
    });
    output::line("");
    output::table(&["PACKETS", "ACTION", "COUNT", "ONLY WATCHED"], rows.collect());
}
