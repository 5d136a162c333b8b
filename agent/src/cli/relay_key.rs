//! `relay-key`: by what this node vouches for its users, as the nodes behind it are told.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config;
use crate::vouching::{load_or_make, public_line};

pub(super) fn relay_key(common: &Common) -> Result<Exit, Failure> {
    let config = config::load(&common.config).map_err(Failure::usage)?;
    let line = load_or_make(&config.state_dir).and_then(|key| public_line(&key));
    let line = line.map_err(|error| Failure::unavailable(format!("the relay's key: {error}")))?;
    if common.json {
        output::json(&serde_json::json!({ "key": line }));
    } else {
        output::line(&line);
    }
    Ok(Exit::Done)
}
