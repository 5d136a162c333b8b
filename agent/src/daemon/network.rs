//! Whether the agent may use the network: its unit keeps it from there, unless a drop-in says otherwise.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

/// The cause of whatever failed on the network, if it is this one (systemd.exec(5), `RestrictAddressFamilies=`), and what to do
/// about it: to take this drop-in of the package's.
pub(super) fn why_there_is_none(drop_in: &str) -> Option<String> {
    let refused = |family| matches!(socket(family, SocketType::STREAM, None), Err(Errno::AFNOSUPPORT));
    (refused(AddressFamily::INET) && refused(AddressFamily::INET6)).then(|| {
        format!(
            "the unit keeps the agent off the network: install -D -m 644 -t \
             /etc/systemd/system/cotter-agent.service.d /usr/share/cotter/examples/cotter-agent.service.d/{drop_in} && \
             systemctl daemon-reload && systemctl restart cotter-agent"
        )
    })
}
