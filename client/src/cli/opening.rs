//! How a node that is dark comes to be open: whom to knock at, by which host key, and what is said if it stays shut.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use cotter_api::Family;
use cotter_knock::{Fingerprint, WINDOW};
use pinning::Pins;
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Context, Failure};
use crate::credential::{self, families, moment, short, unix};
use crate::knock::{
    Destination, KnockError, Knocker, Outcome, PATIENCE, Signs, Visit, VisitError, known_host_keys,
};
use crate::known::Known;
use crate::node::Node;
use crate::terminal::tell;

/// Longest wait for a node's addresses.
const RESOLVING: Duration = Duration::from_secs(5);
/// Most addresses of a node that are visited.
const MOST: usize = 8;

/// How a node wants to be asked.
pub(super) struct Call {
    pub(super) knock_port: NonZeroU16,
    pub(super) tcp: bool,
    pub(super) host_key: Option<Fingerprint>,
}

impl Call {
    /// As its entry says, if that says anything of knocks.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let Node { knock, knock_tcp: tcp, host_key, .. } = *node;
        Some(Self { knock_port: knock?, tcp, host_key })
    }
}

/// A node that is open.
pub(super) struct Opened {
    pub(super) address: IpAddr,
    /// The family of all addresses that are, if they are of one.
    pub(super) only: Option<Family>,
}

/// Knocks until the node is open.
pub(super) async fn open(
    context: &Context,
    known: &Known,
    destination: &Destination,
    call: Call,
) -> Result<Opened, Failure> {
    let drawer = context.drawer(known)?;
    let pins = credential::identity(&drawer)?.and_then(|identity| identity.pins);
    let visit = Visit {
        addresses: addresses(destination, pins.as_ref()).await?,
        port: destination.port,
        knock_port: call.knock_port,
        tcp: call.tcp,
        host_keys: host_keys(destination, call.host_key).await?,
    };
    let waits = || tell(format!("knocking at {} …", destination.name));
    match visit.pay(Knocker::of(drawer)?, waits).await? {
        Outcome::Open(at) => {
            let family = Family::of(at.ip());
            let is_only = visit.addresses.iter().all(|address| Family::of(*address) == family);
            Ok(Opened { address: at.ip(), only: is_only.then_some(family) })
        }
        Outcome::Shut(signs) => Err(Failure::refused(shut(destination, &visit, pins.as_ref(), signs))),
    }
}

/// The node's addresses in the families that ssh uses and the certificate is pinned in.
async fn addresses(destination: &Destination, pins: Option<&Pins>) -> Result<Vec<IpAddr>, Failure> {
    let Destination { name, host, port, .. } = destination;
    let unknown = |why: &dyn std::fmt::Display| {
        Failure::unreachable(format!("{name}: {host}: no address is found: {why}"))
    };
    let found = timeout(RESOLVING, lookup_host((host.as_str(), *port))).await;
    let found = found.map_err(|late| unknown(&late))?.map_err(|error| unknown(&error))?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    found.dedup();
    let pinned = pins.map(families);
    let counts = |address: &IpAddr| {
        let family = Family::of(*address);
        destination.families.contains(&family) && pinned.as_ref().is_none_or(|it| it.contains(&family))
    };
    let counting: Vec<IpAddr> = found.iter().copied().filter(counts).take(MOST).collect();
    if counting.is_empty() {
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        return Err(Failure::refused(format!(
            "{name} has no address that ssh uses and that your certificate is pinned for: it has {}, and you are pinned to {}",
            found.join(" and "),
            pins.map_or_else(|| "nothing".to_owned(), short)
        )));
    }
    Ok(counting)
}

/// The host keys that a knock may name: that of the node's entry, else those that ssh knows it by.
async fn host_keys(destination: &Destination, own: Option<Fingerprint>) -> Result<Vec<Fingerprint>, Failure> {
    if let Some(key) = own {
        return Ok(vec![key]);
    }
    let asked = destination.clone();
    let found = spawn_blocking(move || known_host_keys(&asked)).await.map_err(Failure::unreachable)?;
    let found = found.map_err(|error| Failure::usage(format!("ssh-keygen cannot be run: {error}")))?;
    if found.is_empty() {
        let Destination { name, known_as, .. } = destination;
        return Err(Failure::refused(format!(
            "the host key of {name} is not known, and a knock names it: {known_as} is not in known_hosts. Have its \
             administrator tell you what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there, and write it into the \
             node's entry in client.toml: host_key = \"SHA256:…\""
        )));
    }
    Ok(found)
}

/// What may be behind a door that stays shut: the node itself never says.
fn shut(destination: &Destination, visit: &Visit, pins: Option<&Pins>, signs: Signs) -> String {
    let join = |parts: Vec<String>| parts.join(" and ");
    let addresses = join(visit.addresses.iter().map(ToString::to_string).collect());
    let keys = join(visit.host_keys.iter().map(ToString::to_string).collect());
    let bell = match signs.unheard {
        true => "none is heard there, it answers",
        false => "and no firewall on the way drops them",
    };
    let sshd = if signs.refused { "connections are refused" } else { "it does not answer" };
    let (now, apart) = (moment(unix()), WINDOW.as_secs());
    let pin = pins.map_or_else(
        || "your roles there ask for no pin: your certificate has none".to_owned(),
        |pins| format!("it sees you at {}, where your certificate is pinned", short(pins)),
    );
    format!(
        "{} stays shut after {} s of knocks at {addresses}. Nodes never say why; see whether\n\
         - it hears knocks at UDP port {}: {bell}\n\
         - its sshd is at port {}: {sshd}\n\
         - its host key is {keys}\n\
         - the clocks are right: it is {now} here, and more than {apart} s apart are too many\n\
         - {pin}\n\
         - it knows your authority, and has no lock on you",
        destination.name,
        PATIENCE.as_secs(),
        visit.knock_port,
        visit.port
    )
}

impl From<KnockError> for Failure {
    fn from(error: KnockError) -> Self {
        match error {
            KnockError::Home(error) => error.into(),
            KnockError::NoCertificate | KnockError::Sign(_) | KnockError::Draft(_) => Self::refused(error),
        }
    }
}

impl From<VisitError> for Failure {
    fn from(error: VisitError) -> Self {
        match error {
            VisitError::Knock(error) => error.into(),
            VisitError::Large(_) => Self::refused(error),
            VisitError::Lost(_) | VisitError::Unreachable(..) | VisitError::Nobody => {
                Self::unreachable(error)
            }
        }
    }
}
