//! Writes the agent's manual pages and shell completions, from the definition of its command line, below a directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap_complete::Shell;
use cotter_agent::cli;

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from).context("usage: cotter-pages DIRECTORY")?;
    manual(&directory.join("man8"))?;
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let directory = directory.join(name);
        made(&directory)?;
        let written = clap_complete::generate_to(shell, &mut cli::command(), "cotter-agent", &directory)?;
        if shell == Shell::Bash {
            // The name by which bash-completion looks for it.
            fs::rename(&written, written.with_file_name("cotter-agent"))?;
        }
    }
    Ok(())
}

/// One page for the command, and one for each of its subcommands, all of section 8 (clap_mangen's own generator knows
/// only section 1).
fn manual(directory: &Path) -> Result<()> {
    // `help` is no command to write a page about.
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    pages(command, made(directory)?)
}

fn pages(command: clap::Command, directory: &Path) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages(subcommand.clone(), directory)?;
    }
    let source = concat!("Cotter ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).section("8").source(source).manual("Cotter").generate_to(directory)?;
    Ok(())
}

fn made(directory: &Path) -> Result<&Path> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}
