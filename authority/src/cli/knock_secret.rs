//! `knock-secret`: what nodes and authority share, so that a node tells a made-up knock by little work.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Common, Failure};
use crate::audit::{Subject, What};
use crate::knock_secret;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where to; there must be nothing yet
    file: PathBuf,
}

/// The secret itself is shown nowhere.
pub(super) fn knock_secret(common: &Common, options: &Options) -> Result<(), Failure> {
    let config = common.load()?;
    let file = std::path::absolute(&options.file).map_err(Failure::usage)?;
    knock_secret::make(&file).map_err(Failure::refused)?;
    common.audit(&config)?.write(What::KnockSecretMade { file: file.clone() }, Subject::default());
    if common.json {
        println!("{}", json!({ "file": file }));
        return Ok(());
    }
    eprintln!("Copy {} to each node that hears knocks (secret of [knock] in agent.toml).", file.display());
    eprintln!("Then name it as knock_secret, and reload the authority.");
    Ok(())
}
