//! Staying first in line: noticing that programs of others have come before ours, and how far ours insists.

use std::time::{Duration, Instant};

use super::attachment::{Attached, Attachment, Hold, causes, program};
use super::line::Line;
use super::{Datapath, Error, Method, TcHook, clsact, grace, link, object};
use crate::interfaces::Interface;

/// What has changed about the place of ours in a device's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Programs of others come before ours; [`Attachment::behind`] names them.
    Overtaken(Attachment),
    /// Ours comes first again.
    FirstAgain(Attachment),
}

/// What to do about being overtaken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Say so, and put ours first again.
    Move,
    /// Say so, and stay.
    Stay,
    /// Stay. That has been said.
    Silence,
}

/// How often ours has been overtaken on a device of late: another may insist on being first as well, or come and go in
/// a loop, and the two must not chase each other for ever.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Contest {
    rounds: usize,
    latest: Option<Instant>,
    /// That ours is behind has been said, so that it is first again will be.
    told: bool,
}

impl Contest {
    /// How often ours is put first again before it stays behind.
    const MOVES: usize = 3;
    /// After so long without being overtaken the count begins anew.
    const REST: Duration = Duration::from_secs(600);

    fn overtaken(&mut self, now: Instant) -> Answer {
        self.rounds = if self.is_rested(now) { 1 } else { self.rounds + 1 };
        self.latest = Some(now);
        match self.rounds {
            ..=Self::MOVES => Answer::Move,
            rounds if rounds == Self::MOVES + 1 => Answer::Stay,
            _more => Answer::Silence,
        }
    }

    /// Whether ours may try again where it has not come to the front.
    fn insists(&self, now: Instant) -> bool {
        self.rounds < Self::MOVES || self.is_rested(now)
    }

    fn is_rested(&self, now: Instant) -> bool {
        self.latest.is_none_or(|latest| now.saturating_duration_since(latest) >= Self::REST)
    }
}

impl Attached {
    /// What is to be said if ours is first, and has been said not to be.
    fn first_again(&mut self) -> Option<Change> {
        let told = self.attachment.behind.is_empty() && std::mem::take(&mut self.contest.told);
        told.then(|| Change::FirstAgain(self.attachment.clone()))
    }
}

impl Datapath {
    /// Looks at the attachments to `interfaces` that are not XDP's, and puts ours first again where programs of others
    /// have come before it and `hook` and the kernel allow it; theirs stay and go on behind. Ours judges all the while.
    ///
    /// After a few times in a row ours stays where it is for some minutes, whatever the others do.
    pub fn stay_first(&mut self, interfaces: &[Interface], hook: TcHook, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for interface in interfaces {
            if let Err(error) = self.look(interface, hook, now, &mut changes) {
                tracing::warn!(
                    interface = interface.name,
                    error = causes(&error),
                    "perhaps not first in line"
                );
            }
        }
        changes
    }

    fn look(
        &mut self,
        interface: &Interface,
        hook: TcHook,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        let Some(attached) = self.attached.get_mut(&interface.index) else { return Ok(()) };
        let Some(place) = attached.place()? else { return Ok(()) };
        let line = Line::of(interface)?;
        // One that is lost is noticed elsewhere.
        let Some(behind) = line.before(place) else { return Ok(()) };
        let (is_first, was_first) = (behind.is_empty(), attached.attachment.behind.is_empty());
        attached.attachment.behind = behind;
        if is_first {
            changes.extend(attached.first_again());
            return Ok(());
        }
        let way = line.way_ahead(place, hook);
        let tries = was_first || (way.is_some() && attached.contest.insists(now));
        if !tries {
            return Ok(());
        }
        let answer = attached.contest.overtaken(now);
        if was_first && answer != Answer::Silence {
            attached.contest.told = true;
            changes.push(Change::Overtaken(attached.attachment.clone()));
        }
        match way {
            Some(method) if answer == Answer::Move => self.advance(interface, method, changes),
            Some(_) | None => Ok(()),
        }
    }

    /// Puts ours in front by this method, and only then takes it away from where it was.
    fn advance(
        &mut self,
        interface: &Interface,
        method: Method,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        self.make_way(interface, method)?;
        let hold = self.attach_by(interface, method)?;
        let Some(attached) = self.attached.get_mut(&interface.index) else { return Ok(()) };
        attached.attachment.method = method;
        match std::mem::replace(&mut attached.hold, hold) {
            // Its pin is the new link's by now, so this was the last that held it.
            Hold::Link { .. } => {}
            Hold::Filter(filter) => {
                grace::wait();
                clsact::detach(&filter, interface.index)?;
            }
        }
        if let Some(place) = attached.place()? {
            attached.attachment.behind = Line::of(interface)?.before(place).unwrap_or_default();
        }
        changes.extend(attached.first_again());
        Ok(())
    }

    /// TCX takes a program only once on a device (EEXIST), wherever its links are to stand, and moves no link. So another
    /// instance of the program, over the same maps, stands in for it behind the old link until the new one is there.
    fn make_way(&mut self, interface: &Interface, method: Method) -> Result<(), Error> {
        let hold = self.attached.get(&interface.index).map(|attached| &attached.hold);
        let Some(Hold::Link { pin, .. }) = hold else { return Ok(()) };
        let program = program(interface.layer, method);
        let mut stand_in = object::load_stand_in(&self.directory(), program)?;
        link::replace(&mut stand_in, program, pin).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_insists_three_times_and_begins_anew_after_a_rest() {
        let begin = Instant::now();
        let mut contest = Contest::default();
        let mut answer = |seconds| contest.overtaken(begin + Duration::from_secs(seconds));
        let answers = [0, 5, 10, 15, 20, 300].map(&mut answer);
        let expected =
            [Answer::Move, Answer::Move, Answer::Move, Answer::Stay, Answer::Silence, Answer::Silence];
        assert_eq!(answers, expected);
        assert_eq!(answer(899), Answer::Silence);
        assert_eq!(answer(899 + 600), Answer::Move);
    }
}
