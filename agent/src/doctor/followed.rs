//! The authority that is followed: whether it is known by more than its policy's signature, and whether following goes well.

use cotter_api::Trust;

use super::{Finding, Node};
use crate::daemon::call::FollowingStatus;

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let Some(authority) = node.config.as_ref().ok().and_then(|config| config.authority.as_ref()) else {
        return Vec::new();
    };
    let trust = if matches!(authority.trust, Trust::Anyone) {
        let what = format!(
            "whoever stands between here and {} can hold back new locks unnoticed, and give a node that knows nothing \
             yet what was true on an earlier day",
            authority.place
        );
        Finding::warning("followed-trust", what, "name its `fingerprint` or a `ca_file` in [authority]")
    } else {
        Finding::ok("followed-trust", format!("{} is known by its certificate, too", authority.place))
    };
    let status = node.status.as_ref().ok().and_then(|status| status.following.as_ref());
    [Some(trust), status.map(how)].into_iter().flatten().collect()
}

fn how(status: &FollowingStatus) -> Finding {
    let version =
        status.version.map_or_else(|| "no policy".to_owned(), |version| format!("version {version}"));
    match &status.error {
        None if status.version.is_none() => {
            let what = format!("{} has not answered yet, and no policy of it is in force", status.url);
            Finding::warning("followed", what, "look again in a moment")
        }
        None => Finding::ok("followed", format!("{version} of {} is in force", status.url)),
        Some(error) => {
            let what = format!("{version} of {} is in force: {error}", status.url);
            let remedy = "until it is mended the node goes on with that, and new locks do not reach it";
            Finding::warning("followed", what, remedy)
        }
    }
}
