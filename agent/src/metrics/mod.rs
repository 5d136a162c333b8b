//! Metrics for Prometheus, as OpenMetrics text: what is counted as it happens, and the endpoint that serves it together
//! with what the daemon looks up when somebody asks.

mod endpoint;
mod tally;

pub(crate) use endpoint::{Listener, serve};
pub(crate) use tally::{Outcome, Tally};

use std::net::SocketAddr;

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAt {
    /// Nowhere.
    Off,
    /// `metrics.sock` in the runtime directory, for root and `read_group`.
    #[default]
    Unix,
    /// This address, over plain HTTP and without asking who it is: user names and addresses are not among the metrics.
    Tcp(SocketAddr),
}

impl std::str::FromStr for MetricsAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "unix" => Ok(Self::Unix),
            address => address.parse().map(Self::Tcp).map_err(|_neither| {
                format!("`metrics` is \"unix\", \"off\" or an address with a port as in \"127.0.0.1:9732\", not {text:?}")
            }),
        }
    }
}
