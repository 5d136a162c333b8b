//! Taking everything of ours out of the kernel, when the agent is to go for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::link::parse_link_name;
use super::pins::{self, Pins};
use super::{Error, clsact, takeover};
use crate::interfaces;

/// Detaches every program of ours from the devices of this network namespace, and removes the pin directory with all
/// that is in it; the names of the devices. Fails while an agent runs. That nothing is there is fine.
pub fn remove(pin_dir: &Path) -> Result<Vec<String>, Error> {
    if pin_dir.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let pins = Pins::prepare(pin_dir)?;
    let programs = takeover::earlier_programs(&pins)?;
    let mut names = BTreeSet::new();
    let interfaces = interfaces::list().map_err(Error::Interfaces)?;
    // A filter is no file: it outlives the directory.
    for interface in &interfaces {
        for filter in clsact::entries(interface.index)?.iter().filter_map(clsact::Entry::filter) {
            if programs.contains(&filter.program) {
                clsact::detach(&filter, interface.index)?;
                names.insert(interface.name.clone());
            }
        }
    }
    let by_index: BTreeMap<u32, &str> =
        interfaces.iter().map(|interface| (interface.index, interface.name.as_str())).collect();
    for directory in pins.others()?.into_iter().chain([pins.current()]) {
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let links = files.filter_map(|file| parse_link_name(file.file_name().to_str()?));
        names.extend(links.filter_map(|(_, index)| by_index.get(&index)).map(|&name| name.to_owned()));
    }
    // Links end with their pins.
    pins::remove(pin_dir)?;
    Ok(names.into_iter().collect())
}
