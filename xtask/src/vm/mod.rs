//! The suite in virtual machines, on the kernels that nodes run.

/// How guests are run: by the processor itself or by software.
mod accelerator;
/// What was built once and is used until what builds it changes.
mod cache;
/// A running virtual machine.
mod guest;
/// The root file system.
mod image;
/// Debian's kernels for virtual machines.
mod kernel;
/// What a guest is given to run.
mod payload;
/// What a guest has said.
mod verdict;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::setup::{self, Needs};
use accelerator::Accelerator;
use guest::Order;
use kernel::Kernel;
use payload::Payload;

/// What is told on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The kernel to boot
    #[arg(long, value_enum, default_value_t = Choice::All)]
    kernel: Choice,
    /// Keep logs and results also if all is well
    #[arg(long)]
    keep: bool,
    /// Build the packages as tests are built, and run of the suite only what is listed as depending on the kernel in guests
    /// that software runs
    #[arg(long)]
    brief: bool,
    /// Open a root shell in the guest instead of running the tests; `poweroff` leaves it
    #[arg(long, conflicts_with = "filter")]
    shell: bool,
    /// Run only tests of the suite whose names contain one of these
    filter: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// Debian 12's own
    #[value(name = "6.1")]
    Bookworm,
    /// The later one that Debian 12 offers
    #[value(name = "6.12")]
    Later,
    /// The newest of Debian's backports, as an early warning
    Newest,
    /// 6.1 and 6.12, one after the other
    All,
}

impl Choice {
    fn series(self) -> &'static [kernel::Series] {
        use kernel::Series;
        match self {
            Self::Bookworm => &[Series::V6_1],
            Self::Later => &[Series::V6_12],
            Self::Newest => &[Series::Newest],
            Self::All => &[Series::V6_1, Series::V6_12],
        }
    }
}

/// Sets up, builds, boots each kernel and runs what its guest is given.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !setup::is_root() {
        bail!("the virtual machine's file system can only be put together by root");
    }
    let series = options.kernel.series();
    if options.shell && series.len() > 1 {
        bail!("one shell, one kernel: say which with --kernel");
    }
    setup::run(Needs::Vm)?;
    let _lock = cache::lock()?;
    let payload = Payload::build(&options.filter, options.brief)?;
    let root = image::root()?;
    let kernels: Vec<Kernel> =
        series.iter().map(|series| kernel::unpacked(*series)).collect::<Result<_>>()?;
    let accelerator = Accelerator::find(&kernels)?;
    let peer = payload::checks_the_node(&options.filter);
    let mut all_well = true;
    for (number, kernel) in kernels.iter().enumerate() {
        let disk = image::disk(&root, kernel)?;
        let (brief, second) = (options.brief, number > 0);
        let order = Order { kernel, disk: &disk, payload: &payload, accelerator, brief, second, peer };
        if options.shell {
            return guest::shell(&order);
        }
        all_well &= verdict::of(&order, options.keep)?;
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
