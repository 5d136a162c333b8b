//! The story of a stolen certificate, played with a real sshd, a real agent and real packets.

/// The second part: balancers in front of the authority say whom they forward, and nobody else is asked.
mod balancers;
/// The fourth part: the node's own services answer only where a session is.
mod gates;
/// How the parts after the first are played.
mod part;
/// The play: its steps in order, and the table at the end.
mod play;
/// The third part: what a session opens is held, too.
mod roaming;
/// The stage: node, authority, sshd, agent.
mod stage;

/// Steps: who is thrown out.
mod cut;
/// Steps: the agent dies and comes back.
mod dead_agent;
/// Steps: who gets in.
mod login;

/// What is shown, and how.
mod screen;

use std::process::ExitCode;

fn main() -> ExitCode {
    let logs = std::env::args().any(|argument| argument == "--logs");
    let parts = || -> anyhow::Result<bool> {
        Ok([play::run(logs)?, balancers::play()?, roaming::play()?, gates::play()?]
            .into_iter()
            .all(|right| right))
    };
    match parts() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
