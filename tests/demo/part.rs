//! A part of the play with a stage of its own: its steps in order, and the table at the end.

use std::time::Instant;

use anyhow::Result;

use crate::screen::Screen;

/// A step: its heading, and what happens; the answer says in one line how it came out.
pub(crate) type Step<T> = (&'static str, fn(&mut T) -> Result<String>);

/// Plays all steps on the stage, which is taken down then; whether every step came out right.
pub(crate) fn play<T>(screen: Screen, mut stage: T, steps: &[Step<T>]) -> bool {
    let play = |(number, step): (usize, &Step<T>)| play_one(screen, &mut stage, number, step);
    let rows: Vec<_> = (1..).zip(steps).map(play).collect();
    screen.table(["step", "outcome", "time"], &rows);
    let right = rows.iter().all(|(right, _)| *right);
    let verdict = if right { "every step came out right" } else { "not every step came out right" };
    drop(stage);
    screen.say("");
    screen.outcome(right, verdict);
    right
}

fn play_one<T>(
    screen: Screen,
    stage: &mut T,
    number: usize,
    (heading, act): &Step<T>,
) -> (bool, [String; 3]) {
    screen.step(number, heading);
    let start = Instant::now();
    let (right, outcome) = match act(stage) {
        Ok(outcome) => (true, outcome),
        Err(error) => (false, format!("{error:#}")),
    };
    screen.outcome(right, &outcome);
    let outcome = outcome.lines().next().unwrap_or_default().to_owned();
    (right, [(*heading).to_owned(), outcome, format!("{:.1} s", start.elapsed().as_secs_f32())])
}
