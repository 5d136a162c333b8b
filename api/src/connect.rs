//! A connection to a place by whichever of its addresses answers: neither family of addresses holds up the other.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::Place;

/// What the family that the resolver prefers is ahead by (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The addresses of a place, of one family if one is named, in the resolver's order; at least one.
pub(crate) async fn resolve(place: &Place, family: Option<Family>) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((place.host.as_str(), place.port)).await?;
    let fits = |address: &SocketAddr| family.is_none_or(|family| Family::of(address.ip()) == family);
    let addresses: Vec<_> = found.filter(fits).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no such address"));
    }
    Ok(addresses)
}

/// Connects, over one family if one is named, else over whichever works first.
pub(crate) async fn connect(place: &Place, family: Option<Family>) -> io::Result<TcpStream> {
    let addresses = resolve(place, family).await?;
    let preferred = Family::of(addresses[0].ip());
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Family::of(address.ip()) == preferred);
    race(TcpStream::connect(&first[..]), TcpStream::connect(&second[..])).await
}

/// Whichever of the two is there first, the first one with its head start. What the first one says is what counts if neither
/// works.
async fn race<T>(
    first: impl Future<Output = io::Result<T>>,
    second: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    match timeout(HEAD_START, first.as_mut()).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => return second.await.map_err(|_other| error),
        Err(_elapsed) => {}
    }
    // Each arm waits for the other one alone: what has ended is not asked again.
    tokio::select! {
        done = first.as_mut() => match done {
            Ok(done) => Ok(done),
            Err(error) => second.await.map_err(|_other| error),
        },
        done = second.as_mut() => match done {
            Ok(done) => Ok(done),
            Err(_other) => first.await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    /// An end that comes at once, within the head start, or behind it.
    async fn ends(after: u64, how: Result<&'static str, &'static str>) -> io::Result<&'static str> {
        if after > 0 {
            sleep(Duration::from_millis(after)).await;
        }
        how.map_err(io::Error::other)
    }

    #[tokio::test]
    async fn whichever_works_is_taken_and_the_first_ones_error_counts_if_neither_does() {
        let mut cases = JoinSet::new();
        for (first, second) in [0, 300, 350].into_iter().flat_map(|one| [(one, 0), (one, 300), (one, 350)]) {
            let race = move |one, other| async move {
                let done = race(ends(first, one), ends(second, other)).await;
                done.map_err(|error| error.to_string())
            };
            cases.spawn(async move {
                assert_eq!(race(Err("a"), Err("b")).await, Err("a".to_owned()), "{first} {second}");
                assert_eq!(race(Err("a"), Ok("two")).await, Ok("two"), "{first} {second}");
                assert_eq!(race(Ok("one"), Err("b")).await, Ok("one"), "{first} {second}");
                assert!(race(Ok("one"), Ok("two")).await.is_ok(), "{first} {second}");
            });
        }
        while let Some(case) = cases.join_next().await {
            case.unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_is_of_one_family_and_a_connection_stays_in_the_one_that_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place: Place = format!("127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        assert!(connect(&place, None).await.is_ok());
        assert!(connect(&place, Some(Family::V4)).await.is_ok());
        assert!(connect(&place, Some(Family::V6)).await.is_err());
    }
}
