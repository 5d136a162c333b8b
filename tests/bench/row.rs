//! What is measured in a round, under which names, and the goals that are made of it.

use crate::authority::Figured;
use crate::figures::Figures;
use crate::gates::Gates;
use crate::locks::Lock;
use crate::logins::Logins;
use crate::lookups::Lookups;
use crate::packets::Packets;
use crate::relays::Relays;
use crate::sockets::Sockets;

/// Everything that was measured in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Nanoseconds a packet.
    pub(crate) packets: Packets,
    /// Millions of packets dropped a second.
    pub(crate) gates: Gates,
    /// Nanoseconds a datagram.
    pub(crate) sockets: Sockets,
    /// What large tables take.
    pub(crate) lookups: Lookups,
    /// Billions of bytes a second.
    pub(crate) relays: Relays,
    /// Milliseconds a login.
    pub(crate) logins: Logins,
    /// What the authority takes.
    pub(crate) authority: Figured,
    /// Milliseconds from a lock on.
    pub(crate) lock: Lock,
    /// The same from a lock at the authority on.
    pub(crate) followed: Lock,
}

/// One figure of each round.
pub(crate) struct Row {
    /// Its name in the raw figures; it ends with the unit.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    of: fn(&Round) -> Option<f64>,
}

/// All figures of a round.
pub(crate) const ROWS: [Row; 45] = [
    Row::new("bare_pass_ns", "XDP program that passes at once", |round| Some(round.packets.bare_pass)),
    Row::new("parse_plainly_ns", "parses Ethernet, IPv4, TCP; passes", |round| {
        Some(round.packets.parse_plainly)
    }),
    Row::new("parse_fully_ns", "parses all that Cotter parses; passes", |round| {
        Some(round.packets.parse_fully)
    }),
    Row::new("unprotected_ns", "Cotter: to an unprotected port", |round| Some(round.packets.unprotected)),
    Row::new("xdp_filter_ns", "xdp-filter: passes", |round| Some(round.packets.xdp_filter)),
    Row::new("pinned_ns", "Cotter: of a pinned flow, one of 100,000", |round| Some(round.packets.pinned)),
    Row::new("granted_ns", "Cotter: to a gated port, by one of 100,000 grants", |round| {
        Some(round.packets.granted)
    }),
    Row::new("flood_bare_drop_mpps", "flood from everywhere: XDP program that drops at once", |round| {
        Some(round.gates.bare_drop)
    }),
    Row::new("flood_cotter_mpps", "… Cotter's gate, 100,000 grants", |round| Some(round.gates.cotter)),
    Row::new("flood_nft_ingress_mpps", "… nftables at netdev ingress, set of 100,000", |round| {
        Some(round.gates.nft_ingress)
    }),
    Row::new("flood_nft_prerouting_mpps", "… nftables at prerouting, set of 100,000", |round| {
        Some(round.gates.nft_prerouting)
    }),
    Row::new("flood_ipset_mpps", "… iptables' raw table, ipset of 100,000", |round| {
        Some(round.gates.ipset)
    }),
    Row::new("flood_making_ns", "… making a packet of it, which is in none of these", |round| {
        Some(round.gates.making)
    }),
    Row::new("datagram_without_ns", "datagram to a socket on a node without Cotter", |round| {
        Some(round.sockets.without)
    }),
    Row::new("datagram_ordinary_ns", "… to a socket of no session", |round| Some(round.sockets.ordinary)),
    Row::new("datagram_endpoint_ns", "… to a session's socket, from its pin", |round| {
        Some(round.sockets.endpoint)
    }),
    Row::new("endpoint_of_1k_ns", "finding one of 1,000 endpoints", |round| Some(round.lookups.endpoints[0])),
    Row::new("endpoint_of_100k_x", "… one of 100,000, in relation", |round| {
        Some(round.lookups.endpoints[1] / round.lookups.endpoints[0])
    }),
    Row::new("endpoint_of_1m_x", "… one of 1,000,000, in relation", |round| {
        Some(round.lookups.endpoints[2] / round.lookups.endpoints[0])
    }),
    Row::new("endpoint_bytes", "… memory for each of those", |round| Some(round.lookups.endpoint_bytes)),
    Row::new("grant_of_1k_ns", "finding one of 1,000 grants", |round| Some(round.lookups.grants[0])),
    Row::new("grant_of_100k_x", "… one of 100,000, in relation", |round| {
        Some(round.lookups.grants[1] / round.lookups.grants[0])
    }),
    Row::new("grant_of_1m_x", "… one of 1,000,000, in relation", |round| {
        Some(round.lookups.grants[2] / round.lookups.grants[0])
    }),
    Row::new("grant_bytes", "… memory for each of those", |round| Some(round.lookups.grant_bytes)),
    Row::new("grants_1m_sec", "… putting 1,000,000 in force, once", |round| Some(round.lookups.install)),
    Row::new("direct_gbytes", "bytes of a connection, with nothing between", |round| {
        Some(round.relays.direct)
    }),
    Row::new("relay_gbytes", "… through the relay", |round| Some(round.relays.relay)),
    Row::new("haproxy_gbytes", "… through HAProxy in TCP mode", |round| Some(round.relays.haproxy)),
    Row::new("sockmap_gbytes", "… by a sockmap, as the relay could carry them", |round| {
        Some(round.relays.sockmap)
    }),
    Row::new("login_script_ms", "ssh … true, principal by a shell script", |round| {
        Some(round.logins.script)
    }),
    Row::new("login_agent_ms", "ssh … true, with the agent", |round| Some(round.logins.agent)),
    Row::new("authority_logins_per_s", "logins through the authority, of 4 people at once", |round| {
        Some(1e3 / round.authority.login)
    }),
    Row::new("authority_alone_per_s", "… their argon2id and their signatures alone", |round| {
        Some(1e3 / round.authority.alone)
    }),
    Row::new("authority_wait_p50_ms", "… what one of the 4 waits, p50", |round| {
        Some(round.authority.waits[0])
    }),
    Row::new("authority_wait_p99_ms", "… what one of the 4 waits, p99", |round| {
        Some(round.authority.waits[1])
    }),
    Row::new("issued_per_s", "certificates without passwords: serial number, signature", |round| {
        Some(round.authority.issued_per_s)
    }),
    Row::new("issue_p50_us", "… p50", |round| Some(round.authority.issue[0])),
    Row::new("issue_p99_us", "… p99", |round| Some(round.authority.issue[1])),
    Row::new("lock_in_force_ms", "`cotter-agent lock` to the session cut in the map", |round| {
        Some(round.lock.in_force)
    }),
    Row::new("lock_drop_ms", "… to its first packet counted as dropped", |round| round.lock.drop),
    Row::new("lock_socket_ms", "… to the end of its socket on the node", |round| Some(round.lock.socket)),
    Row::new("lock_client_ms", "… to the end of its client", |round| Some(round.lock.client)),
    Row::new("followed_in_force_ms", "`cotter-authority lock`, 100 agents, to the session cut", |round| {
        Some(round.followed.in_force)
    }),
    Row::new("followed_drop_ms", "… to its first packet counted as dropped", |round| round.followed.drop),
    Row::new("followed_socket_ms", "… to the end of its socket on the node", |round| {
        Some(round.followed.socket)
    }),
];

impl Row {
    const fn new(name: &'static str, what: &'static str, of: fn(&Round) -> Option<f64>) -> Self {
        Self { name, what, of }
    }

    /// The unit that stands in its name.
    pub(crate) fn unit(&self) -> &'static str {
        match self.name.rsplit('_').next().unwrap_or_default() {
            "s" => "/s",
            "sec" => "s",
            "mpps" => "million/s",
            "gbytes" => "GB/s",
            unit => unit,
        }
    }

    /// Its figure in one round, if there was one.
    pub(crate) fn figure(&self, round: &Round) -> Option<f64> {
        (self.of)(round)
    }

    /// Its figures in all rounds.
    pub(crate) fn figures(&self, rounds: &[Round]) -> Figures {
        rounds.iter().filter_map(self.of).collect()
    }
}

/// What the median of a figure must not exceed.
pub(crate) struct Goal {
    /// Its name in the raw figures.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    /// The bound.
    pub(crate) limit: f64,
    /// The unit of both.
    pub(crate) unit: &'static str,
    of: fn(&Round) -> f64,
}

/// All goals.
pub(crate) const GOALS: [Goal; 9] = [
    Goal {
        name: "unprotected_to_parse",
        what: "packet to an unprotected port / parsing the same headers",
        limit: 1.4,
        unit: "x",
        of: |round| round.packets.unprotected / round.packets.parse_fully,
    },
    Goal {
        name: "pinned_to_xdp_filter",
        what: "packet of a pinned flow / xdp-filter passing a packet",
        limit: 3.0,
        unit: "x",
        of: |round| round.packets.pinned / round.packets.xdp_filter,
    },
    Goal {
        name: "flood_nft_to_cotter",
        what: "flood that a node drops by nftables at ingress / by Cotter's gate",
        limit: 0.25,
        unit: "x",
        of: |round| round.gates.nft_ingress / round.gates.cotter,
    },
    Goal {
        name: "flood_ipset_to_cotter",
        what: "flood that a node drops by ipset / by Cotter's gate",
        limit: 0.2,
        unit: "x",
        of: |round| round.gates.ipset / round.gates.cotter,
    },
    Goal {
        name: "haproxy_to_relay",
        what: "bytes through HAProxy / through the relay, in the same time",
        limit: 1.0 / 0.9,
        unit: "x",
        of: |round| round.relays.haproxy / round.relays.relay,
    },
    Goal {
        name: "login_added",
        what: "login with the agent - login with a script",
        limit: 5.0,
        unit: "ms",
        of: |round| round.logins.agent - round.logins.script,
    },
    Goal {
        name: "authority_to_alone",
        what: "login through the authority / its argon2id and signature alone",
        limit: 1.5,
        unit: "x",
        of: |round| round.authority.login / round.authority.alone,
    },
    Goal {
        name: "lock_to_drop",
        what: "lock to the first dropped packet, or to the socket's end if none came before it",
        limit: 5.0,
        unit: "ms",
        of: |round| round.lock.drop.unwrap_or(round.lock.socket),
    },
    Goal {
        name: "followed_lock_to_drop",
        what: "lock at the authority that 100 agents follow to the first dropped packet",
        limit: 250.0,
        unit: "ms",
        of: |round| round.followed.drop.unwrap_or(round.followed.socket),
    },
];

impl Goal {
    /// Its figures, one a round: what is compared was measured one right after the other.
    pub(crate) fn figures(&self, rounds: &[Round]) -> Figures {
        rounds.iter().map(self.of).collect()
    }

    /// Whether the median keeps to the limit.
    pub(crate) fn is_met(&self, rounds: &[Round]) -> bool {
        self.figures(rounds).median() <= self.limit
    }
}
