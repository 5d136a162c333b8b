//! What is shown and written.

use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::figures::Figures;
use crate::row::{GOALS, Goal, ROWS, Round};

/// Prints what was measured, and how it compares with the goals.
pub(crate) fn show(rounds: &[Round]) {
    let mut measured = table(&["measured", "unit", "median", "25 %", "75 %", "least", "most", "rounds"]);
    for row in &ROWS {
        let figures = row.figures(rounds);
        let mut cells = vec![row.what.to_owned(), row.unit().to_owned()];
        cells.extend(numbers(&figures));
        cells.push(figures.count().to_string());
        measured.add_row(cells);
    }
    let mut goals = table(&["goal", "unit", "median", "25 %", "75 %", "least", "most", "at most", "met"]);
    for goal in &GOALS {
        let mut cells = vec![goal.what.to_owned(), goal.unit.to_owned()];
        cells.extend(numbers(&goal.figures(rounds)));
        cells.extend([goal.limit.to_string(), if goal.is_met(rounds) { "yes" } else { "NO" }.to_owned()]);
        goals.add_row(cells);
    }
    for table in [&mut measured, &mut goals] {
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("\n{table}");
    }
}

/// Writes every figure, and what the goals came to.
pub(crate) fn write(file: &Path, rounds: &[Round]) -> Result<()> {
    let figures = |round: &Round| -> Value {
        ROWS.iter().map(|row| (row.name.to_owned(), json!(row.figure(round)))).collect::<Map<_, _>>().into()
    };
    let goal = |goal: &Goal| {
        let median = goal.figures(rounds).median();
        json!({ "name": goal.name, "median": median, "limit": goal.limit, "met": goal.is_met(rounds) })
    };
    let kernel = rustix::system::uname();
    let report = json!({
        "kernel": kernel.release().to_string_lossy(),
        "machine": kernel.machine().to_string_lossy(),
        "processors": std::thread::available_parallelism()?,
        // Debian 12's `pam_exec` closes as many descriptors as there may be, up to 65535, before it runs the hook.
        "open_files_limit": getrlimit(Resource::Nofile).maximum,
        "goals": GOALS.iter().map(goal).collect::<Vec<_>>(),
        "rounds": rounds.iter().map(figures).collect::<Vec<_>>(),
    });
    std::fs::write(file, format!("{report:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}

fn table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heading.to_vec());
    table
}

/// The median and the spread.
fn numbers(figures: &Figures) -> Vec<String> {
    let quantile = |part| format!("{:.2}", figures.quantile(part));
    vec![format!("{:.2}", figures.median()), quantile(0.25), quantile(0.75), quantile(0.0), quantile(1.0)]
}
