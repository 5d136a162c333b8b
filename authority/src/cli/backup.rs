//! `backup`: a copy of the storage, while the authority goes on.

use std::path::PathBuf;

use clap::Args;

use super::user::failure;
use super::{Common, Failure};
use crate::store::StoreError;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where to; there must be nothing yet
    file: PathBuf,
}

pub(super) async fn backup(common: &Common, options: &Options) -> Result<(), Failure> {
    let (_config, store) = common.open().await?;
    store.back_up(&options.file).await.map_err(|error| {
        if matches!(error, StoreError::NoFile) { Failure::usage(error) } else { failure(&store, &error) }
    })
}
