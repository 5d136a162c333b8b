//! What is shown, and how: colours only where they can be seen.

use std::fmt::Display;
use std::io::IsTerminal;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const CYAN: &str = "36";

/// The terminal, or the file in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    colours: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn paint(self, colour: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// A heading over everything that follows.
    pub(crate) fn title(self, text: &str) {
        println!("\n{}", self.paint(BOLD, text));
    }

    /// The heading of a step.
    pub(crate) fn step(self, number: usize, text: &str) {
        println!("\n{} {}", self.paint(BOLD, format!("{number:2}")), self.paint(BOLD, text));
    }

    /// What is done, in words.
    pub(crate) fn say(self, text: &str) {
        println!("   {text}");
    }

    /// A command, as typed at the prompt of the place.
    pub(crate) fn command(self, place: &str, command: impl Display) {
        println!("   {} {command}", self.paint(CYAN, format!("{place}$")));
    }

    /// What a command printed, line by line.
    pub(crate) fn printed(self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   {} {}", self.paint(DIM, "│"), line.trim_end());
        }
    }

    /// What somebody other than a command has to say: the audit log, the kernel.
    pub(crate) fn voice(self, who: &str, text: &str) {
        println!("   {} {text}", self.paint(DIM, format!("{who}:")));
    }

    /// How a step came out.
    pub(crate) fn outcome(self, right: bool, text: &str) {
        println!("   {} {text}", self.mark(right));
    }

    fn mark(self, right: bool) -> String {
        if right { self.paint(GREEN, "✓") } else { self.paint(RED, "✗") }
    }

    /// Rows under headings, each with a mark before it. Columns are as wide as their widest entry.
    pub(crate) fn table<const N: usize>(self, headings: [&str; N], rows: &[(bool, [String; N])]) {
        let mut widths = headings.map(|heading| heading.chars().count());
        for (_, row) in rows {
            for (width, entry) in widths.iter_mut().zip(row) {
                *width = (*width).max(entry.chars().count());
            }
        }
        let line = |entries: [&str; N]| -> String {
            let padded = entries.iter().zip(widths).map(|(entry, width)| format!("{entry:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        println!("\n     {}", self.paint(BOLD, line(headings)));
        for (right, row) in rows {
            println!("   {} {}", self.mark(*right), line(row.each_ref().map(String::as_str)));
        }
    }
}
