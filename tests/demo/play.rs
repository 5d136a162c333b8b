//! The play: its steps in order, and the table at the end.

use std::time::Instant;

use agent_ebpf::{Action, Reason};
use anyhow::Result;
use lab::counter;

use crate::screen::Screen;
use crate::stage::Stage;
use crate::{cut, dead_agent, login};

/// A step: its heading, and what happens; the answer says in one line how it came out.
type Step = (&'static str, fn(&mut Stage) -> Result<String>);

const STEPS: [Step; 8] = [
    ("Alice logs in with her password, and is pinned to her address", login::from_the_pinned_address),
    ("Her stolen key and certificate, from another address", login::stolen_certificate),
    ("A certificate without a pin, once its role demands one", login::certificate_without_pin),
    ("A lock at the authority cuts an established session", cut::by_lock),
    ("A certificate ends in mid-session", cut::by_expiry),
    ("The agent is killed, and then a session's time is up", dead_agent::the_kernel_goes_on),
    ("A new agent takes over", dead_agent::a_new_agent_takes_over),
    ("Alice has moved, and is led through a new login", login::from_a_new_address),
];

/// Plays all of it; whether every step came out right.
pub(crate) fn run(logs: bool) -> Result<bool> {
    let screen = Screen::new();
    screen.title("Cotter: an SSH session, locked to the address it logged in from");
    screen
        .say("Setting the stage in namespaces of its own: a node with sshd, cotter-agent and cotter-authority, and two hosts");
    screen.say("  alice      198.51.111.1  where alice is");
    screen.say("  elsewhere  198.51.222.2  where her stolen certificate turns up");
    screen.say("  node       198.51.100.10 enforces; the role pinned-ip says pin_source_ip: true");
    let mut stage = Stage::set(screen)?;
    stage.administrator(&["status"])?;

    let rows: Vec<_> = (1..).zip(STEPS).map(|(number, step)| play(&mut stage, number, step)).collect();
    if logs {
        show_logs(&stage)?;
    }
    screen.table(["step", "outcome", "packets dropped", "time"], &rows);
    let right = rows.iter().all(|(right, _)| *right);
    let verdict = if right { "every step came out right" } else { "not every step came out right" };
    drop(stage);
    screen.say("");
    screen.outcome(right, &format!("{verdict}; the namespaces are gone, and everything in them"));
    Ok(right)
}

/// Plays one step and gives its row of the table.
fn play(stage: &mut Stage, number: usize, (heading, act): Step) -> (bool, [String; 4]) {
    let screen = stage.screen;
    screen.step(number, heading);
    let start = Instant::now();
    let before = counter::packets(stage.node());
    let came_out = act(stage);
    let counted = before.and_then(|before| Ok(grown(&before, &counter::packets(stage.node())?)));
    let (right, outcome, counted) = match (came_out, counted) {
        (Ok(outcome), Ok(counted)) => (true, outcome, counted),
        (Err(error), counted) => (false, format!("{error:#}"), counted.unwrap_or_default()),
        (Ok(_), Err(error)) => (false, format!("{error:#}"), Vec::new()),
    };
    let words: Vec<String> =
        counted.iter().map(|(reason, count)| format!("{} {count}", reason.name())).collect();
    screen.voice("kernel counted", &if words.is_empty() { "nothing".to_owned() } else { words.join(", ") });
    screen.outcome(right, &outcome);
    let dropped =
        counted.iter().filter(|(reason, _)| reason.action() == Action::Drop).map(|(_, count)| count);
    let row = [
        heading.to_owned(),
        outcome.lines().next().unwrap_or_default().to_owned(),
        dropped.sum::<u64>().to_string(),
        format!("{:.1} s", start.elapsed().as_secs_f32()),
    ];
    (right, row)
}

/// The counters that have grown, and by how much; what was none of Cotter's business is left out.
fn grown(before: &[(Reason, u64)], after: &[(Reason, u64)]) -> Vec<(Reason, u64)> {
    let grown = before
        .iter()
        .zip(after)
        .map(|((reason, before), (_, after))| (*reason, after.saturating_sub(*before)));
    grown
        .filter(|(reason, count)| *count > 0 && !matches!(reason, Reason::NotIp | Reason::NotProtected))
        .collect()
}

fn show_logs(stage: &Stage) -> Result<()> {
    let screen = stage.screen;
    screen.title("Audit log");
    for event in stage.agent.events()? {
        screen.printed(&event.to_string());
    }
    screen.title("cotter-agent");
    screen.printed(&stage.agent.log()?);
    screen.title("sshd");
    screen.printed(&stage.sshd.log()?);
    Ok(())
}
