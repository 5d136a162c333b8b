//! Keeps the programs attached where the configuration wants them, and the node's own addresses known.

use super::call::{AttachmentStatus, Cause, NotCovered};
use super::coverage::{Coverage, perhaps_not_covered, wanted};
use super::{Daemon, lock};
use crate::audit::{Subject, What};
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
                not_covered.push(NotCovered { interface: interface.name.clone(), cause: Cause::Failed, why });
            }
        }
        self.stay_first(&mut datapath, &all);
        self.hold_endpoints(&mut datapath);
        not_covered.extend(datapath.attachments().filter_map(perhaps_not_covered));
        let attachments: Vec<_> = datapath.attachments().cloned().collect();
        *lock(&self.coverage) = Coverage { attachments, not_covered };
    }

    /// Sees to it that what sessions open themselves is judged.
    fn hold_endpoints(&self, datapath: &mut Datapath) {
        self.endpoints_are(datapath.verify_endpoints());
        self.endpoints_are(datapath.hold_endpoints(Instant::now()));
    }

    /// Takes note of whether what sessions open themselves is judged, and tells it if that is news.
    fn endpoints_are(&self, held: Result<(), String>) {
        let error = held.err();
        let before = std::mem::replace(&mut *lock(&self.endpoints_error), error.clone());
        let what = match (before, error) {
            (None, Some(error)) => What::EndpointsLost { error },
            (Some(_), None) => What::EndpointsHeld,
            (None, None) | (Some(_), Some(_)) => return,
        };
        self.audit.write(what, Subject::default());
    }

    /// Sees to it that programs of others do not decide before ours does.
    fn stay_first(&self, datapath: &mut Datapath, interfaces: &[Interface]) {
        for change in datapath.stay_first(interfaces, self.config().tc_hook, Instant::now()) {
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
        if !lock(&self.coverage).knows(&interface.name, &error) {
            let what = What::AttachmentLost { interface: interface.name.clone(), error: error.clone() };
            self.audit.write(what, Subject::default());
        }
        error
    }

    /// What `status` lists of all this. The kernel's part may be busy meanwhile.
    pub(super) fn coverage(&self) -> (Vec<AttachmentStatus>, Vec<NotCovered>) {
        let coverage = lock(&self.coverage);
        (coverage.listed(), coverage.not_covered.clone())
    }
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
