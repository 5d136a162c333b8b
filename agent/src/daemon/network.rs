//! Whether the agent may use the network: its unit keeps it from there, unless a drop-in says otherwise.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

/// What to do about it.
const WAY_OUT: &str = "the unit keeps the agent off the network: install -D -m 644 -t \
    /etc/systemd/system/cotter-agent.service.d /usr/share/cotter/examples/cotter-agent.service.d/authority.conf && \
    systemctl daemon-reload && systemctl restart cotter-agent";

/// The cause of whatever failed on the network, if it is this one (systemd.exec(5), `RestrictAddressFamilies=`).
pub(super) fn why_there_is_none() -> Option<&'static str> {
    let refused = |family| matches!(socket(family, SocketType::STREAM, None), Err(Errno::AFNOSUPPORT));
    (refused(AddressFamily::INET) && refused(AddressFamily::INET6)).then_some(WAY_OUT)
}
