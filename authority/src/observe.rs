//! Where a request comes from: what the connection says, and what trusted hops say of it.

use std::net::SocketAddr;

use ipnet::IpNet;
use pinning::{Address, ForwardedForError, How, Observed, ProxiedClient, ProxyHeader, forwarded_for};

/// Whom a connection is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A client, or a hop that has more to say, at this address.
    At(Observed),
    /// A client whose address its balancer does not tell.
    Unknown,
    /// A balancer that looks whether somebody is here: never a login.
    HealthCheck,
}

/// Which hops are believed, and in what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hops {
    /// Where they are.
    pub trusted: Vec<IpNet>,
    /// They write `X-Forwarded-For`.
    pub forwarded_for: bool,
}

impl Hops {
    /// Whether there is a trusted hop at this address.
    pub fn trusts(&self, address: Address) -> bool {
        self.trusted.iter().any(|network| network.contains(&address.ip()))
    }

    /// Who a request is from, of the values of its `X-Forwarded-For` lines, in order. `None`: nobody vouches for an
    /// address.
    ///
    /// Such lines count only from a trusted hop. Of a trusted hop that does not tell, the client is not known: it is not the
    /// hop; but whom a header of the connection names is the client, wherever it is, unless hops tell more.
    ///
    /// # Errors
    /// What a trusted hop has written is no list of addresses.
    pub fn observe<'v>(
        &self,
        sender: &Sender,
        lines: impl IntoIterator<Item = &'v [u8]>,
    ) -> Result<Option<Observed>, ForwardedForError> {
        let Sender::At(hop) = sender else { return Ok(None) };
        if !self.trusts(hop.address) {
            return Ok(Some(hop.clone()));
        }
        if !self.forwarded_for {
            return Ok((hop.how != How::Direct).then(|| hop.clone()));
        }
        let client = forwarded_for(lines, |address| self.trusts(address))?;
        Ok(client.map(|address| Observed { address, how: How::XForwardedFor { via: hop.address } }))
    }
}

impl Sender {
    /// The peer of a socket that sends no header.
    pub fn direct(peer: SocketAddr) -> Self {
        Self::At(Observed::direct(peer))
    }

    /// Whom a trusted hop's header is about.
    pub fn proxied(header: &ProxyHeader, hop: SocketAddr) -> Self {
        let via = Address::from(hop);
        match header.client {
            ProxiedClient::Itself => Self::HealthCheck,
            ProxiedClient::Unknown => Self::Unknown,
            ProxiedClient::At(address, _port) => {
                let how = if header.version == 1 { How::ProxyV1 { via } } else { How::ProxyV2 { via } };
                Self::At(Observed { address, how })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops() -> Hops {
        Hops { trusted: vec!["10.0.0.0/8".parse().unwrap()], forwarded_for: true }
    }

    fn direct(peer: &str) -> Sender {
        Sender::direct(peer.parse().unwrap())
    }

    fn observed(hops: &Hops, sender: &Sender, lines: &[&str]) -> Option<String> {
        let lines = lines.iter().map(|line| line.as_bytes());
        hops.observe(sender, lines).unwrap().map(|observed| observed.to_string())
    }

    #[test]
    fn a_client_of_its_own_is_the_sockets_peer_whatever_it_claims() {
        let client = direct("[::ffff:198.51.111.1]:40000");
        for lines in [&[][..], &["203.0.113.7"], &["no address"]] {
            let observed = observed(&hops(), &client, lines);
            assert_eq!(observed.as_deref(), Some("198.51.111.1 (direct)"), "{lines:?}");
        }
    }

    #[test]
    fn a_trusted_hop_tells_the_client_or_nobody_knows_it() {
        let hop = direct("10.0.0.1:1");
        let expected = "198.51.111.1 (x-forwarded-for via 10.0.0.1)";
        assert_eq!(
            observed(&hops(), &hop, &["203.0.113.7, 198.51.111.1", "10.0.0.2"]).as_deref(),
            Some(expected)
        );
        assert_eq!(observed(&hops(), &hop, &[]), None);
        assert_eq!(observed(&hops(), &hop, &["10.0.0.3"]), None);
        assert!(hops().observe(&hop, [&b"x"[..]]).is_err());
        let silent = Hops { forwarded_for: false, ..hops() };
        assert_eq!(observed(&silent, &hop, &["198.51.111.1"]), None);
    }

    #[test]
    fn a_header_of_the_connection_comes_first_and_may_name_a_hop_that_tells_more() {
        let parse = |line: &str| ProxyHeader::parse(line.as_bytes()).unwrap().unwrap();
        let hop: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let client = Sender::proxied(&parse("PROXY TCP4 198.51.111.1 192.0.2.1 1 2\r\n"), hop);
        assert_eq!(observed(&hops(), &client, &[]).as_deref(), Some("198.51.111.1 (proxy-v1 via 10.0.0.1)"));
        let inner = Sender::proxied(&parse("PROXY TCP4 10.0.0.2 192.0.2.1 1 2\r\n"), hop);
        let told = observed(&hops(), &inner, &["198.51.111.1"]);
        assert_eq!(told.as_deref(), Some("198.51.111.1 (x-forwarded-for via 10.0.0.2)"));
        let silent = Hops { forwarded_for: false, ..hops() };
        let inside = observed(&silent, &inner, &["198.51.111.1"]);
        assert_eq!(inside.as_deref(), Some("10.0.0.2 (proxy-v1 via 10.0.0.1)"));
        let unknown = Sender::proxied(&parse("PROXY UNKNOWN\r\n"), hop);
        assert_eq!(observed(&hops(), &unknown, &["198.51.111.1"]), None);
    }
}
