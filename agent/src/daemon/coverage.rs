//! Which interfaces' packets are judged and which are not, as of the latest look.

use super::call::{AttachmentStatus, Cause, NotCovered};
use crate::config::Interfaces;
use crate::datapath::Attachment;
use crate::interfaces::{self, Interface};

/// What the latest look at the interfaces found.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) attachments: Vec<Attachment>,
    pub(super) not_covered: Vec<NotCovered>,
}

impl Coverage {
    /// The attachments as they are listed.
    pub(super) fn listed(&self) -> Vec<AttachmentStatus> {
        let listed = |it: &Attachment| AttachmentStatus {
            interface: it.interface.clone(),
            method: it.method.to_string(),
        };
        self.attachments.iter().map(listed).collect()
    }

    /// Whether an interface was listed for just this reason.
    pub(super) fn knows(&self, interface: &str, why: &str) -> bool {
        self.not_covered.iter().any(|it| it.interface == interface && it.why == why)
    }
}

/// The interfaces that the configuration wants covered, and those that it does not.
pub(crate) fn wanted<'a>(
    configured: &Interfaces,
    all: &'a [Interface],
) -> (Vec<&'a Interface>, Vec<NotCovered>) {
    let mut wanted = Vec::new();
    let mut not_covered = Vec::new();
    for interface in all {
        let (cause, why) = match configured {
            Interfaces::Auto => {
                (Cause::LeftOut, interfaces::left_out(interface, all).map(|why| why.to_string()))
            }
            Interfaces::Named(names) => {
                let listed = names.contains(&interface.name);
                (Cause::NotListed, (!listed).then(|| "not in the configuration's list".to_owned()))
            }
        };
        match why {
            None => wanted.push(interface),
            Some(why) => not_covered.push(NotCovered { interface: interface.name.clone(), cause, why }),
        }
    }
    if let Interfaces::Named(names) = configured {
        let missing = names.iter().filter(|name| !all.iter().any(|interface| interface.name == **name));
        not_covered.extend(missing.map(|name| NotCovered {
            interface: name.clone(),
            cause: Cause::Missing,
            why: "no such interface".to_owned(),
        }));
    }
    (wanted, not_covered)
}

/// An attachment that comes after programs of others.
pub(super) fn perhaps_not_covered(attachment: &Attachment) -> Option<NotCovered> {
    let others = attachment.behind.join(", ");
    let why = format!("programs of others come before ours and may decide alone: {others}");
    let interface = attachment.interface.clone();
    (!others.is_empty()).then_some(NotCovered { interface, cause: Cause::Behind, why })
}
