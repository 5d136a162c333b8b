//! The project's tasks: `cargo xtask <task>`.

/// What Cotter costs, measured against its goals.
mod bench;
/// The story, played in namespaces of its own.
mod demo;
/// What strangers send, made up by libFuzzer: briefly with all other tests, for longer by itself.
mod fuzz;
/// Format, clippy for host and kernel, licences, advisories and sources.
mod lint;
/// Whether the tests notice when the rules are changed.
mod mutants;
/// The Debian packages.
mod package;
/// What the tasks need of the machine, found by looking and installed where it is missing.
mod setup;
/// Every test there is, summed up in one line.
mod test;
/// The suite in virtual machines, on the kernels that nodes run.
mod vm;

/// Debian's packages.
mod apt;
/// Cargo, as it was called to run the tasks.
mod cargo;
/// A step that may take its time, and how it is shown.
mod step;
/// Finds what can build the kernel programs; the agent's build script uses the same file.
#[path = "../../agent/build/toolchain.rs"]
#[expect(dead_code, reason = "the build script uses the rest")]
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing for the other tasks; they call this themselves
    Setup,
    /// Run every test (needs root: namespaces, sshd, kernel programs)
    Test(test::Options),
    /// Play the story: login, theft, cut, expiry, a dead agent (needs root)
    Demo(demo::Options),
    /// Measure what Cotter costs, beside its goals (needs root)
    Bench(bench::Options),
    /// Run the suite in virtual machines, on the kernels that nodes run (needs root)
    Vm(vm::Options),
    /// Make up what strangers may send, until something breaks or the time is over
    Fuzz(fuzz::Options),
    /// Change the rules in many small ways, and see that the tests notice
    Mutants(mutants::Options),
    /// Build the Debian packages
    Package,
    /// Check format, lints, licences, advisories and sources
    Lint,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run(setup::Needs::Everything).map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Package => package::run(package::Profile::Release).map(|_packages| ExitCode::SUCCESS),
        Task::Lint => lint::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
