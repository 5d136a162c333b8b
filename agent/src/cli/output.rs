//! Tables for eyes, JSON for scripts.

use super::plain::{self, Lines, plain};
use crate::audit::Subject;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

/// Prints one value as JSON.
pub(super) fn json(value: &impl Serialize) {
    put(&plain::json(value, Lines::Many));
}

/// Prints one value as JSON on a line of its own.
pub(super) fn json_line(value: &impl Serialize) {
    put(&plain::json(value, Lines::One));
}

/// Prints a line.
pub(super) fn line(text: &str) {
    put(&plain(text));
}

/// Prints several lines.
pub(super) fn lines(text: &str) {
    text.lines().for_each(line);
}

/// Prints a line in a colour, where there are colours.
pub(super) fn coloured(colour: Colour, text: &str) {
    put(&colour.paint(&plain(text)));
}

/// Prints rows under their headings.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    let rows = rows.into_iter().map(|row| row.into_iter().map(|cell| plain(&cell).into_owned()));
    table.load_style(NOTHING).set_header(headings.iter().copied()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    put(&table.trim_fmt());
}

/// Prints what is fit for a terminal; a reader that went away (`| head`) ends the program quietly.
fn put(text: &str) {
    if let Err(error) = writeln!(io::stdout(), "{text}")
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// What a line is about, as terminals show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// No colour.
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Doubtful,
    /// Something is wrong.
    Bad,
}

impl Colour {
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Good => 32,
            Self::Doubtful => 33,
            Self::Bad => 31,
            Self::Plain => return text.to_owned(),
        };
        if *COLOURS { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Colours are for terminals, unless the user wants none (no-color.org).
static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    io::stdout().is_terminal() && !unwanted && !dumb
});

/// A person: cluster and key id; a dash if nobody is known.
pub(super) fn person(subject: &Subject) -> String {
    subject.person().unwrap_or_else(|| "-".to_owned())
}

/// Seconds as people say them: `42 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment as local time of the day it is, to the second.
pub(super) fn time(unix_seconds: u64) -> String {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "never".to_owned(), |moment| moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}
