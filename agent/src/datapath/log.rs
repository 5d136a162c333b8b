//! What the kernel programs say in words.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How much the kernel programs say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelLog {
    /// Nothing; the statements are not even part of the running program.
    #[default]
    Off,
    /// A line for each packet that is dropped or would be.
    Debug,
}

impl KernelLog {
    /// The number that the programs compare a statement's level with.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Debug => 4,
        }
    }
}

/// Hands the programs' lines to the `log` crate's logger, for as long as the future runs; `None` if it runs already.
pub(super) fn reader(ebpf: &mut Ebpf) -> io::Result<Option<impl Future<Output = io::Error> + use<>>> {
    let Ok(logger) = EbpfLogger::init(ebpf) else { return Ok(None) };
    #[expect(
        deprecated,
        reason = "the new form asks for a promise that this type keeps: one descriptor for life"
    )]
    let mut logger = AsyncFd::with_interest(logger, Interest::READABLE)?;
    Ok(Some(async move {
        loop {
            match logger.readable_mut().await {
                Ok(mut ready) => {
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                Err(error) => return error,
            }
        }
    }))
}
