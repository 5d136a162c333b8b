//! Keeps the programs attached where the configuration wants them, and the node's own addresses known.

use super::call::{AttachmentStatus, NotCovered};
use super::{Daemon, lock};
use crate::audit::{Subject, What};
use crate::config::Interfaces;
use crate::datapath::{Attachment, Change, Datapath, Method};
use crate::interfaces::{self, Interface, Watch};
use agent_ebpf::Address;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Follows changes of links and addresses until the daemon ends.
pub(super) async fn follow(daemon: Arc<Daemon>) {
    let mut watch = match Watch::new() {
        Ok(watch) => watch,
        Err(error) => return tracing::error!("changes of interfaces are noticed late: {error}"),
    };
    while let Ok(()) = watch.changed().await {
        let worker = Arc::clone(&daemon);
        if let Err(error) = tokio::task::spawn_blocking(move || worker.attach()).await {
            tracing::error!("interfaces were not looked at: {error}");
        }
        // A burst of changes is one change.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tracing::error!("changes of interfaces are noticed late from now on");
}

impl Daemon {
    /// Attaches where it should be and is not, and writes down the node's addresses.
    pub(super) fn attach(&self) {
        let all = match interfaces::list() {
            Ok(all) => all,
            Err(error) => return tracing::error!("interfaces cannot be listed: {error}"),
        };
        if let Err(error) = self.tables.set_local(&addresses(&all)) {
            tracing::error!("the node's own addresses are not all known to the kernel programs: {error}");
        }
        let (wanted, mut not_covered) = wanted(&self.config().interfaces, &all);
        let mut datapath = lock(&self.datapath);
        self.report_lost(&mut datapath);
        detach_unwanted(&mut datapath, &wanted);
        for interface in wanted {
            if let Err(why) = self.attach_one(&mut datapath, interface) {
                not_covered.push(NotCovered { interface: interface.name.clone(), why });
            }
        }
        self.stay_first(&mut datapath);
        not_covered.extend(datapath.attachments().filter_map(perhaps_not_covered));
        let counted = datapath.attachments().map(|attachment| attachment.index).collect();
        if let Err(error) = self.tables.set_counted_interfaces(&counted) {
            tracing::warn!("drops are not counted by interface: {error}");
        }
        *lock(&self.not_covered) = not_covered;
    }

    /// Sees to it that programs of others do not decide before ours does.
    fn stay_first(&self, datapath: &mut Datapath) {
        let changes = datapath.stay_first(self.config().tc_hook, Instant::now());
        let changes =
            changes.inspect_err(|error| tracing::error!("attachments cannot be looked at: {error}"));
        for change in changes.unwrap_or_default() {
            let what = match change {
                Change::Overtaken(Attachment { interface, method, behind, .. }) => {
                    What::Overtaken { interface, method: method.to_string(), by: behind }
                }
                Change::FirstAgain(Attachment { interface, method, .. }) => {
                    What::FirstAgain { interface, method: method.to_string() }
                }
            };
            self.audit.write(what, Subject::default());
        }
    }

    fn report_lost(&self, datapath: &mut Datapath) {
        let lost = datapath.verify();
        let lost = lost.inspect_err(|error| tracing::error!("attachments cannot be looked at: {error}"));
        for attachment in lost.unwrap_or_default() {
            let error = format!("the program is gone ({})", attachment.method);
            self.audit
                .write(What::AttachmentLost { interface: attachment.interface, error }, Subject::default());
        }
    }

    /// Attaches to one interface unless the programs are there already; why not, if it fails.
    fn attach_one(&self, datapath: &mut Datapath, interface: &Interface) -> Result<(), String> {
        let config = self.config();
        let before = method_on(datapath, interface);
        let attached = datapath.attach(interface, config.attach, config.tc_hook);
        let attached = attached.map_err(|error| self.not_attached(interface, error.to_string()))?;
        if before != Some(attached.method) {
            let what = What::Attached { interface: attached.interface, method: attached.method.to_string() };
            self.audit.write(what, Subject::default());
        }
        Ok(())
    }

    /// Reports a failure once, not at every look.
    fn not_attached(&self, interface: &Interface, error: String) -> String {
        let known =
            lock(&self.not_covered).iter().any(|it| it.interface == interface.name && it.why == error);
        if !known {
            let what = What::AttachmentLost { interface: interface.name.clone(), error: error.clone() };
            self.audit.write(what, Subject::default());
        }
        error
    }

    /// Where programs are attached and where not.
    pub(super) fn coverage(&self) -> (Vec<AttachmentStatus>, Vec<NotCovered>) {
        let attached = lock(&self.datapath)
            .attachments()
            .map(|it| AttachmentStatus { interface: it.interface.clone(), method: it.method.to_string() })
            .collect();
        (attached, lock(&self.not_covered).clone())
    }
}

fn perhaps_not_covered(attachment: &Attachment) -> Option<NotCovered> {
    let others = attachment.behind.join(", ");
    let why = format!("programs of others come before ours and may decide alone: {others}");
    (!others.is_empty()).then(|| NotCovered { interface: attachment.interface.clone(), why })
}

fn method_on(datapath: &Datapath, interface: &Interface) -> Option<Method> {
    datapath.attachments().find(|it| it.index == interface.index).map(|it| it.method)
}

/// Takes programs off interfaces that the configuration leaves out.
fn detach_unwanted(datapath: &mut Datapath, wanted: &[&Interface]) {
    let unwanted: Vec<_> = datapath
        .attachments()
        .filter(|it| !wanted.iter().any(|interface| interface.index == it.index))
        .map(|it| (it.index, it.interface.clone()))
        .collect();
    for (index, name) in unwanted {
        if let Err(error) = datapath.detach(index) {
            tracing::warn!("{name}: the program stays though it is no longer configured: {error}");
        }
    }
}

fn addresses(all: &[Interface]) -> BTreeSet<Address> {
    interfaces::addresses(all).into_iter().map(Address::from).collect()
}

/// The interfaces that the configuration wants covered, and those that it does not.
fn wanted<'a>(configured: &Interfaces, all: &'a [Interface]) -> (Vec<&'a Interface>, Vec<NotCovered>) {
    let mut wanted = Vec::new();
    let mut not_covered = Vec::new();
    for interface in all {
        let why = match configured {
            Interfaces::Auto => interfaces::left_out(interface, all).map(|why| why.to_string()),
            Interfaces::Named(names) => {
                (!names.contains(&interface.name)).then(|| "not in the configuration's list".to_owned())
            }
        };
        match why {
            None => wanted.push(interface),
            Some(why) => not_covered.push(NotCovered { interface: interface.name.clone(), why }),
        }
    }
    if let Interfaces::Named(names) = configured {
        let missing = names.iter().filter(|name| !all.iter().any(|interface| interface.name == **name));
        not_covered.extend(
            missing.map(|name| NotCovered { interface: name.clone(), why: "no such interface".to_owned() }),
        );
    }
    (wanted, not_covered)
}
