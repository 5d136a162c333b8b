//! Text in columns: each as wide as what stands in it, the widest cut first where there is no room.

use super::super::plain::plain;
use ratatui::text::Span;

/// A column's heading, and to which side its cells go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// Words, to the left.
    Words(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Words(heading) | Self::Number(heading) => heading,
        }
    }
}

/// Lines no wider than `room`: the headings, then the rows.
pub(super) fn lines<const N: usize>(columns: [Column; N], rows: &[[String; N]], room: usize) -> Vec<String> {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| plain(cell).into_owned())).collect();
    let headings = columns.map(|column| column.heading().to_owned());
    let all = || std::iter::once(&headings).chain(&rows);
    let wanted = std::array::from_fn(|index| all().map(|row| width(&row[index])).max().unwrap_or(0));
    let widths = fitted(wanted, room.saturating_sub(N - 1));
    all().map(|row| line(columns, row, widths)).collect()
}

fn line<const N: usize>(columns: [Column; N], row: &[String; N], widths: [usize; N]) -> String {
    let cells = columns.iter().zip(row).zip(widths).map(|((column, text), room)| {
        let text = shortened(text, room);
        let space = " ".repeat(room - width(&text));
        match column {
            Column::Words(_) => text + &space,
            Column::Number(_) => space + &text,
        }
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// Widths that fit into `room`; what they lack is taken from the widest.
fn fitted<const N: usize>(mut widths: [usize; N], room: usize) -> [usize; N] {
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 0) else { break };
        *widest -= 1;
    }
    widths
}

/// The text, with an ellipsis at its end if there is more of it than fits.
pub(super) fn shortened(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = room.saturating_sub(1);
    for c in text.chars() {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        if wide > left {
            break;
        }
        left -= wide;
        short.push(c);
    }
    if room > 0 {
        short.push('…');
    }
    short
}

/// Cells of a terminal that a text takes.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::Words("USER"), Column::Words("FROM"), Column::Number("DROPS")];

    fn rows() -> Vec<[String; 3]> {
        [["example.com/alice", "198.51.111.1", "7"], ["b", "2001:db8::1", "12"]]
            .map(|row| row.map(str::to_owned))
            .into()
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let lines = lines(COLUMNS, &rows(), 80);
        assert_eq!(lines[0], "USER              FROM         DROPS");
        assert_eq!(lines[1], "example.com/alice 198.51.111.1     7");
        assert_eq!(lines[2], "b                 2001:db8::1     12");
    }

    #[test]
    fn what_is_cut_is_marked_and_nothing_is_wider_than_the_room() {
        assert_eq!(lines(COLUMNS, &rows(), 32)[1], "example.com/… 198.51.111.1     7");
        for room in 0..40 {
            for line in lines(COLUMNS, &rows(), room) {
                assert!(width(&line) <= room.max(COLUMNS.len() - 1), "{room}: {line:?}");
            }
        }
    }

    #[test]
    fn wide_characters_count_as_terminals_count_them() {
        assert_eq!(shortened("アリス", 6), "アリス");
        assert_eq!(shortened("アリス", 5), "アリ…");
        assert_eq!(shortened("アリス", 4), "ア…");
    }
}
