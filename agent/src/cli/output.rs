//! Tables for eyes, JSON for scripts.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use std::io::{self, Write};

/// Prints one value as JSON.
pub(super) fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("\"{error}\"")));
}

/// Prints one value as JSON on a line of its own.
pub(super) fn json_line(value: &impl Serialize) {
    line(&serde_json::to_string(value).unwrap_or_else(|error| format!("\"{error}\"")));
}

/// Prints a line; a reader that went away (`| head`) ends the program quietly.
pub(super) fn line(text: &str) {
    if let Err(error) = writeln!(io::stdout(), "{text}")
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// Prints rows under their headings.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings.iter().copied()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    line(&table.trim_fmt());
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
