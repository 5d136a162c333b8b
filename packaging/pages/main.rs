//! Writes manual pages and shell completions of all programs, from the definitions of their command lines, below a directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap_complete::Shell;

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from).context("usage: cotter-pages DIRECTORY")?;
    for (command, section) in [
        (cotter_agent::cli::command(), "8"),
        (cotter_authority::cli::command(), "8"),
        (cotter_client::cli::command(), "1"),
    ] {
        completions(&command, &directory)?;
        // `help` is no command to write a page about.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        pages(command, section, made(&directory.join(format!("man{section}")))?)?;
    }
    Ok(())
}

fn completions(command: &clap::Command, directory: &Path) -> Result<()> {
    let program = command.get_name().to_owned();
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let directory = directory.join(name);
        made(&directory)?;
        let written = clap_complete::generate_to(shell, &mut command.clone(), &program, &directory)?;
        if shell == Shell::Bash {
            // The name by which bash-completion looks for it.
            fs::rename(&written, written.with_file_name(&program))?;
        }
    }
    Ok(())
}

/// One page for the command, and one for each of its subcommands, of this section (clap_mangen's own generator knows only
/// section 1).
fn pages(command: clap::Command, section: &str, directory: &Path) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages(subcommand.clone(), section, directory)?;
    }
    let source = concat!("Cotter ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).section(section).source(source).manual("Cotter").generate_to(directory)?;
    Ok(())
}

fn made(directory: &Path) -> Result<&Path> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}
