//! Draws the model: what is in force, sessions, packets by reason, the latest denials, the keys.

use super::super::output::{duration, person, time};
use super::super::plain::plain;
use super::super::{coverage, mode};
use super::columns::{self, Column, shortened};
use super::model::Model;
use crate::audit::{Event, What};
use crate::daemon::call::SessionStatus;
use Column::{Number, Words};
use agent_ebpf::Action;
use pinning::Mode;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use std::cmp::Reverse;

/// Screens that are narrower get fewer columns.
const NARROW: u16 = 60;
/// Screens that are lower show sessions alone.
const LOW: u16 = 16;
/// Reasons and denials that are shown below the sessions at most, however high the screen.
const LONGEST: usize = 9;

const GOOD: Style = Style::new().fg(Color::Green).add_modifier(Modifier::BOLD);
const DOUBTFUL: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of it; `now` in Unix seconds.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: u64) {
    let area = frame.area();
    let (head, detail) = (head(model), detail(model));
    let left = area.height.saturating_sub(rows(&head) + rows(&detail) + 1);
    let each = usize::from(left.saturating_sub(2) / 3).clamp(1, LONGEST);
    let (packets, denials) = (packets(model, area.width, each), denials(model, area.width, each));
    let below = |lines: &[Line<'_>]| if area.height < LOW { 0 } else { rows(lines) };
    let areas = Layout::vertical([
        Constraint::Length(rows(&head)),
        Constraint::Fill(1),
        Constraint::Length(below(&detail)),
        Constraint::Length(below(&packets)),
        Constraint::Length(below(&denials)),
        Constraint::Length(1),
    ]);
    let [top, middle, selected, counts, denied, bottom] = areas.areas(area);
    show(frame, head, top);
    show(frame, sessions(model, middle, now), middle);
    show(frame, detail, selected);
    show(frame, packets, counts);
    show(frame, denials, denied);
    show(frame, vec![Line::styled("q quit  j/k ↓↑ select  s sort  p pause", HEADING)], bottom);
}

fn show(frame: &mut Frame<'_>, lines: Vec<Line<'_>>, area: Rect) {
    frame.render_widget(Text::from(lines), area);
}

fn rows(lines: &[Line<'_>]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(u16::MAX)
}

/// What is in force, and whether this is the present.
fn head(model: &Model) -> Vec<Line<'static>> {
    let status = &model.look.status;
    let style = match status.mode.mode {
        Mode::Enforce => GOOD,
        Mode::Audit => DOUBTFUL,
        Mode::Off => BAD,
    };
    let facts = [
        format!("sessions {} of {}", status.sessions, status.max_sessions),
        format!("unmanaged {}", status.unmanaged),
        format!("locks {}", status.locks),
        format!("penalties {}", status.penalties),
    ];
    let mut lines = vec![
        Line::styled(text(&format!("mode {}", mode::sentence(&status.mode))), style),
        Line::raw(facts.join("  ")),
    ];
    let covered = coverage::covered(status).unwrap_or_else(|| "no interface".to_owned());
    lines.push(Line::raw(text(&format!("covered {covered}"))));
    let faults = coverage::faults(status);
    if let Some(first) = faults.first() {
        let more = if faults.len() > 1 { format!(" (and {} more)", faults.len() - 1) } else { String::new() };
        lines.push(Line::styled(text(&format!("not covered{more} {first}")), BAD));
    }
    if let Some(why) = &model.lost {
        lines.push(Line::styled(text(&format!("NO ANSWER, trying again: {why}")), BAD));
    }
    if model.paused {
        lines.push(Line::styled("PAUSED, p goes on", DOUBTFUL));
    }
    lines
}

/// The page of sessions on which the selected one stands.
fn sessions(model: &Model, area: Rect, now: u64) -> Vec<Line<'static>> {
    let all = model.sessions();
    let page = usize::from(area.height).saturating_sub(1).max(1);
    let first = model.place() / page * page;
    let shown = all.get(first..).unwrap_or_default().iter().take(page);
    let room = usize::from(area.width);
    let lines = if area.width < NARROW {
        let cells = |it: &SessionStatus| {
            [person(&it.record.subject), observed(it), age(it, now), it.dropped.to_string()]
        };
        let rows: Vec<_> = shown.clone().map(cells).collect();
        columns::lines([Words("USER"), Words("FROM"), Number("AGE"), Number("DROPS")], &rows, room)
    } else {
        let columns = [
            Words("SESSION"),
            Words("USER"),
            Words("LOGIN"),
            Words("FROM"),
            Words("PINNED TO"),
            Number("AGE"),
            Number("DROPS"),
        ];
        let rows: Vec<_> = shown.clone().map(|it| row(it, area.width, now)).collect();
        columns::lines(columns, &rows, room)
    };
    let styles =
        shown.enumerate().map(|(index, session)| match (first + index == model.place(), cut(session)) {
            (true, _) => SELECTED,
            (false, true) => BAD,
            (false, false) => Style::new(),
        });
    lines
        .into_iter()
        .zip(std::iter::once(HEADING).chain(styles))
        .map(|(line, style)| Line::styled(line, style))
        .collect()
}

fn row(session: &SessionStatus, width: u16, now: u64) -> [String; 7] {
    let id = session.record.id.to_string();
    // In full it stands below, for the selected one.
    let id = if width < 120 { shortened(&id, 8) } else { id };
    let login = session.record.subject.login.clone().unwrap_or_default();
    let (pins, drops) = (pins(session), session.dropped.to_string());
    [id, person(&session.record.subject), login, observed(session), pins, age(session, now), drops]
}

fn cut(session: &SessionStatus) -> bool {
    session.state == "cut"
}

/// Where the login came from; of a login that nobody vouched for, the connection's other end.
fn observed(session: &SessionStatus) -> String {
    let observed = session.record.subject.observed.clone();
    observed.unwrap_or_else(|| session.record.peer.ip().to_string())
}

/// The pins; one address without the length that says so.
fn pins(session: &SessionStatus) -> String {
    let pins = session.record.subject.pinned.iter().map(|pin| {
        let host = pin.strip_suffix(if pin.contains(':') { "/128" } else { "/32" });
        host.unwrap_or(pin)
    });
    let pins: Vec<&str> = pins.collect();
    if pins.is_empty() { "-".to_owned() } else { pins.join(",") }
}

/// `42s`, `5min`, `3h`, `2d`.
fn age(session: &SessionStatus, now: u64) -> String {
    duration(now.saturating_sub(session.record.opened_at)).replace(' ', "")
}

/// The selected session in full.
fn detail(model: &Model) -> Vec<Line<'static>> {
    let Some(session) = model.selected() else { return vec![Line::raw("no sessions")] };
    let (record, place) = (&session.record, model.place() + 1);
    let ends = record.ends_at.map_or_else(|| "never".to_owned(), time);
    let roles = record.subject.roles.join(",");
    let (sorted, state, mode) = (model.sort.name(), &session.state, record.mode);
    let lines = [
        format!(
            "{place} of {} by {sorted}: {} {state}, mode {mode}, roles {roles}",
            model.sessions().len(),
            record.id
        ),
        format!("{} from {}, pinned to {}", person(&record.subject), record.peer, pins(session)),
        format!("since {}, ends {ends}", time(record.opened_at)),
    ];
    lines.iter().map(|line| Line::raw(text(line))).collect()
}

/// Reasons that have counted something: to drop on the left, to pass beside them where there is room.
fn packets(model: &Model, width: u16, at_most: usize) -> Vec<Line<'static>> {
    let of = |action: Action| {
        let counted = model.packets().filter(|(count, _)| count.action == action.name());
        let mut counted: Vec<_> = counted.filter(|(count, _)| count.packets + count.overruled > 0).collect();
        counted.sort_by_key(|(count, _)| Reverse(count.packets + count.overruled));
        counted.truncate(at_most);
        counted
    };
    let (drops, passes) = (of(Action::Drop), of(Action::Pass));
    let rows: Vec<_> = drops
        .iter()
        .map(|(count, rate)| {
            let rate = rate.map(|rate| rate.packets + rate.overruled);
            [count.reason.clone(), shown(rate), count.packets.to_string(), count.overruled.to_string()]
        })
        .collect();
    let columns = [Words("DROPPED AS"), Number("PER SECOND"), Number("PACKETS"), Number("WATCHED")];
    let room = usize::from(width);
    let left = columns::lines(columns, &rows, room);
    let rows: Vec<_> = passes
        .iter()
        .map(|(count, rate)| {
            [count.reason.clone(), shown(rate.map(|rate| rate.packets)), count.packets.to_string()]
        })
        .collect();
    let beside = room.saturating_sub(left.first().map_or(0, |line| line.chars().count()) + 2);
    let right = columns::lines([Words("PASSED AS"), Number("PER SECOND"), Number("PACKETS")], &rows, beside);
    side_by_side(left, right, if width < NARROW { 0 } else { beside })
}

/// Headings in bold over both; what is dropped at present stands out.
fn side_by_side(left: Vec<String>, right: Vec<String>, beside: usize) -> Vec<Line<'static>> {
    let width = left.first().map_or(0, |line| line.chars().count());
    let count = if beside == 0 { left.len() } else { left.len().max(right.len()) };
    let line = |index: usize| {
        let style = if index == 0 { HEADING } else { Style::new() };
        let mut text = left.get(index).cloned().unwrap_or_else(|| " ".repeat(width));
        if let Some(right) = right.get(index).filter(|_| beside > 0) {
            text.push_str("  ");
            text.push_str(right);
        }
        Line::styled(text, style)
    };
    (0..count).map(line).collect()
}

fn shown(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"))
}

/// The latest denied logins.
fn denials(model: &Model, width: u16, at_most: usize) -> Vec<Line<'static>> {
    let rows: Vec<_> = model.look.denials.iter().filter_map(denial).take(at_most).collect();
    if rows.is_empty() {
        return vec![Line::styled("no login denied of late", HEADING)];
    }
    let columns = [Words("DENIED AT"), Words("AS"), Words("USER"), Words("LOGIN"), Words("FROM")];
    let lines = columns::lines(columns, &rows, usize::from(width));
    let styles = std::iter::once(HEADING).chain(std::iter::repeat(Style::new()));
    lines.into_iter().zip(styles).map(|(line, style)| Line::styled(line, style)).collect()
}

fn denial(event: &Event) -> Option<[String; 5]> {
    let What::LoginDenied { reason, overruled, .. } = &event.what else { return None };
    let subject = &event.subject;
    let moment = event.time.get(11..19).unwrap_or(&event.time).to_owned();
    let reason = format!("{}{}", reason, if *overruled { ", let in" } else { "" });
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    Some([moment, reason, person(subject), or_none(&subject.login), or_none(&subject.observed)])
}

fn text(text: &str) -> String {
    plain(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::model::Wish;
    use super::super::model::tests::{look, session, three};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::{Duration, Instant};

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, 1_000)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content.chunks(usize::from(width).max(1));
        cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn model(sessions: Vec<SessionStatus>) -> Model {
        Model::new(look(Instant::now(), sessions, 7))
    }

    #[test]
    fn an_ordinary_screen_shows_all_of_it() {
        let mut model = model(three());
        model.take(Ok(look(model.look.at + Duration::from_secs(2), three(), 10)));
        let screen = drawn(&model, 80, 24);
        for expected in [
            "mode enforce",
            "sessions 3 of 65536",
            "covered eth0 by xdp",
            "not covered eth1: no TCX and no clsact",
            "example.com/alice alice 198.51.111.1 198.51.111.1 11min     9",
            "1 of 3 by age: 0000000000000003 live, mode enforce, roles ",
            "example.com/bob from 198.51.111.1:40000, pinned to 198.51.111.1",
            "since 1970-01-01 00:01:40Z, ends never",
            "address_mismatch        1.5      10       0",
            "fragment             1.5      10",
            "03:04:05  pin_mismatch example.com/mallory root  198.51.222.2",
            "q quit",
        ] {
            assert!(screen.contains(expected), "{expected}:\n{screen}");
        }
    }

    #[test]
    fn a_small_screen_shows_who_is_there_and_none_is_too_small() {
        let screen = drawn(&model(three()), 40, 10);
        assert!(screen.contains("example.com/bob 198.51.111.1"), "{screen}");
        for (width, height) in [(1, 1), (0, 0), (3, 50), (200, 2), (65, 16), (300, 100)] {
            drawn(&model(three()), width, height);
            drawn(&model(Vec::new()), width, height);
        }
    }

    #[test]
    fn the_page_of_the_selected_session_is_shown() {
        let sessions = (0..100).map(|number| session(number, &format!("user{number:02}"), number, 0));
        let mut model = model(sessions.collect());
        assert!(drawn(&model, 80, 24).contains("/user00"));
        model.obey(Wish::Move(50));
        let screen = drawn(&model, 80, 24);
        assert!(screen.contains("/user50") && !screen.contains("/user00"), "{screen}");
    }

    #[test]
    fn an_agent_that_is_gone_and_a_pause_are_told() {
        let mut model = model(three());
        model.take(Err("no such file".to_owned()));
        model.obey(Wish::Pause);
        let screen = drawn(&model, 80, 24);
        assert!(screen.contains("NO ANSWER, trying again: no such file"), "{screen}");
        assert!(screen.contains("PAUSED"), "{screen}");
    }

    #[test]
    fn what_strangers_are_called_does_nothing_to_the_terminal() {
        let screen = drawn(&model(vec![session(1, "al\u{1b}[2Jice\u{202e}", 0, 0)]), 120, 24);
        assert!(screen.contains("al?[2Jice?"), "{screen}");
        assert!(!screen.contains(['\u{1b}', '\u{202e}']), "{screen}");
    }
}
