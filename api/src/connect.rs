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
    let (mut first, mut second) =
        (pin!(TcpStream::connect(&first[..])), pin!(TcpStream::connect(&second[..])));
    // What the preferred family says is what counts if neither works.
    match timeout(HEAD_START, first.as_mut()).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => return second.await.map_err(|_other| error),
        Err(_elapsed) => {}
    }
    tokio::select! {
        done = first.as_mut() => match done {
            Ok(stream) => Ok(stream),
            Err(error) => second.await.map_err(|_other| error),
        },
        Ok(stream) = second.as_mut() => Ok(stream),
        else => Err(io::ErrorKind::NotConnected.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_address_is_of_one_family_and_a_connection_stays_in_the_one_that_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place: Place = format!("127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        assert!(connect(&place, None).await.is_ok());
        assert!(connect(&place, Some(Family::V4)).await.is_ok());
        assert!(connect(&place, Some(Family::V6)).await.is_err());
    }
}
