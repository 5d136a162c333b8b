//! A visit to a node: knocks, each second a new one, until the door opens or patience ends.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use cotter_knock::{Fingerprint, MAX_DATAGRAM, Packed};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::line::{Line, Sent, bring};
use super::{KnockError, Knocker, door};

/// How long a knock is waited for before the next one.
const ROUND: Duration = Duration::from_secs(1);
/// How many there are.
const ROUNDS: usize = 8;
/// How long that is in all, at most.
pub const PATIENCE: Duration = ROUND.saturating_mul(ROUNDS as u32);
/// After so many, somebody who waits is told why; and datagrams seem to get lost.
const PATIENT_ROUNDS: usize = 2;

/// Whom to visit, and how.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// The port of its sshd.
    pub port: u16,
    /// Where it hears knocks.
    pub knock_port: NonZeroU16,
    /// Whether it hears them over TCP, too.
    pub tcp: bool,
    /// Its host keys, as far as they are known, in the order in which they are tried.
    pub host_keys: Vec<Fingerprint>,
}

/// What came of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The door is open, at this address.
    Open(SocketAddr),
    /// It has not opened.
    Shut(Signs),
}

/// What a node gives away that stays shut, by its kernel's word alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// Nothing hears knocks.
    pub unheard: bool,
    /// Nobody is behind the door.
    pub refused: bool,
}

/// Why a visit came to nothing before it began.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// There is no knock.
    #[error(transparent)]
    Knock(#[from] KnockError),
    /// None can be made.
    #[error(transparent)]
    Lost(#[from] JoinError),
    /// It fits in no datagram.
    #[error(
        "your certificate makes a knock of {0} bytes, and a datagram holds {MAX_DATAGRAM}: use --tcp, or knock_tcp in the \
         node's entry, where the node hears knocks over TCP"
    )]
    Large(usize),
    /// It cannot be sent.
    #[error("{0}: {1}")]
    Unreachable(IpAddr, io::Error),
    /// There is no host key to name, or no address.
    #[error("nobody to visit")]
    Nobody,
}

impl Visit {
    /// Knocks until the door opens; if that takes a while, `waits` is called.
    ///
    /// # Errors
    /// See [`VisitError`].
    pub async fn pay(&self, knocker: Knocker, waits: impl Fn()) -> Result<Outcome, VisitError> {
        let (knocker, lines) = (Arc::new(knocker), self.lines().await?);
        let (mut doors, mut calls) = (JoinSet::new(), JoinSet::new());
        let mut signs = Signs::default();
        for (round, host_key) in (0..ROUNDS).zip(self.host_keys.iter().cycle()) {
            let (knocker, host_key) = (Arc::clone(&knocker), *host_key);
            // An ssh-agent may take its time.
            let knock = spawn_blocking(move || knocker.knock(host_key)).await??;
            match self.datagram(&knock, round)? {
                Some(datagram) => signs.unheard |= send(datagram, &lines).await?,
                None => self.places(self.knock_port.get()).for_each(|place| {
                    calls.spawn(bring(knock.framed(), place));
                }),
            }
            if round == PATIENT_ROUNDS {
                waits();
            }
            self.places(self.port).for_each(|place| {
                doors.spawn(door::opens(place));
            });
            if let Ok(open) = timeout(ROUND, first_open(&mut doors, &mut signs)).await {
                return Ok(Outcome::Open(open));
            }
        }
        Ok(Outcome::Shut(signs))
    }

    /// What goes in a datagram; none: it goes over TCP.
    fn datagram<'k>(&self, knock: &'k Packed, round: usize) -> Result<Option<&'k [u8]>, VisitError> {
        match knock.datagram() {
            None if !self.tcp => Err(VisitError::Large(knock.bytes().len())),
            Some(_) if self.tcp && round >= PATIENT_ROUNDS => Ok(None),
            datagram => Ok(datagram),
        }
    }

    /// Lines to all addresses to which there is a way.
    async fn lines(&self) -> Result<Vec<Line>, VisitError> {
        let (mut lines, mut none) = (Vec::new(), VisitError::Nobody);
        for place in self.places(self.knock_port.get()) {
            match Line::to(place).await {
                Ok(line) => lines.push(line),
                Err(error) => none = VisitError::Unreachable(place.ip(), error),
            }
        }
        if lines.is_empty() { Err(none) } else { Ok(lines) }
    }

    fn places(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(move |address| SocketAddr::new(*address, port))
    }
}

/// Sends a datagram to all of them; whether one says that nothing hears it. It has to get away to one.
async fn send(datagram: &[u8], lines: &[Line]) -> Result<bool, VisitError> {
    let (mut unheard, mut away, mut failed) = (false, false, VisitError::Nobody);
    for line in lines {
        match line.send(datagram).await {
            Ok(sent) => (away, unheard) = (true, unheard || sent == Sent::Unheard),
            Err(error) => failed = VisitError::Unreachable(line.to, error),
        }
    }
    if away { Ok(unheard) } else { Err(failed) }
}

/// Waits for the first of the doors that opens, and if need be for ever.
async fn first_open(doors: &mut JoinSet<io::Result<SocketAddr>>, signs: &mut Signs) -> SocketAddr {
    while let Some(door) = doors.join_next().await {
        match door {
            Ok(Ok(open)) => return open,
            Ok(Err(error)) => signs.refused |= error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_aborted) => {}
        }
    }
    std::future::pending().await
}
