//! `knock`: has a node that shows strangers no open port open for where we are; also what `ssh` does first where a node's entry
//! says so.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::Args;
use cotter_api::{Family, plain};
use serde_json::json;

use super::opening::{Call, open};
use super::{Context, Failure, login, renewal};
use crate::ending::Endings;
use crate::knock::{Destination, DestinationError, Way};
use crate::known::Known;

/// Where nodes hear knocks, if nobody says anything else.
const KNOCK_PORT: NonZeroU16 = NonZeroU16::new(4022).expect("it is not zero");

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The node, as ssh takes it: a name, an address, an alias of its configuration
    node: OsString,
    /// The port of its sshd; the one of ssh's configuration if left out
    #[arg(long)]
    port: Option<NonZeroU16>,
    /// The UDP port at which it hears knocks; that of its entry in client.toml if left out, else 4022
    #[arg(long, value_name = "PORT")]
    knock_port: Option<NonZeroU16>,
    /// Knock over TCP, too: with a certificate too large for a datagram, or where datagrams get lost
    #[arg(long)]
    tcp: bool,
    /// Only if the node's entry says so, and without a word if it opens at once
    #[arg(long)]
    if_needed: bool,
}

pub(super) async fn knock(context: &Context, options: Options) -> Result<ExitCode, Failure> {
    let done =
        if options.if_needed { if_needed(context, options).await } else { told(context, options).await };
    done.map(|()| ExitCode::SUCCESS)
}

async fn told(context: &Context, options: Options) -> Result<(), Failure> {
    let destination = asked(&options.node, options.port).await?;
    if destination.way != Way::Straight {
        return Err(Failure::usage(format!(
            "ssh goes to {} by way of another host: that is the one to knock at",
            plain(&destination.name)
        )));
    }
    let known = context.known()?;
    let entry = context.nodes.of(&destination);
    let call = Call {
        knock_port: options.knock_port.or(entry.and_then(|node| node.knock)).unwrap_or(KNOCK_PORT),
        tcp: options.tcp || entry.is_some_and(|node| node.knock_tcp),
        host_key: entry.and_then(|node| node.host_key),
    };
    let was_asked = renewal::renew(context, &known).await?;
    let opened = open(context, &known, &destination, call);
    // Signals that are caught once somebody was asked are for who waits here.
    let opened = if was_asked {
        Endings::listen().map_err(Failure::unreachable)?.unless(opened).await??
    } else {
        opened.await?
    };
    if context.json {
        println!("{}", json!({ "node": destination.name, "open": true, "address": opened.address }));
    } else {
        println!("{} is open to you", plain(&destination.name));
    }
    Ok(())
}

/// What a snippet of ssh_config has ssh ask for.
async fn if_needed(context: &Context, options: Options) -> Result<(), Failure> {
    if context.nodes.is_empty() || login::is_seen_to(context.place()?) {
        return Ok(());
    }
    // A port that only a later line of its configuration names, ssh does not know yet, and says the usual one.
    let port = options.port.filter(|port| port.get() != 22);
    let destination = asked(&options.node, port).await?;
    match context.nodes.of(&destination).and_then(Call::of) {
        Some(call) if destination.way == Way::Straight => {
            open(context, &context.known()?, &destination, call).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// Has the first host on ssh's way open, if its entry says so. If it is the node itself, and has only addresses of one family
/// open, ssh is to use these.
pub(super) async fn on_the_way(
    context: &Context,
    known: &Known,
    destination: Destination,
) -> Result<Option<Family>, Failure> {
    if context.nodes.is_empty() {
        return Ok(None);
    }
    let is_first = destination.way == Way::Straight;
    let first = destination.first_hop().await?;
    match context.nodes.of(&first).and_then(Call::of) {
        Some(call) if first.way == Way::Straight => {
            let opened = open(context, known, &first, call).await?;
            Ok(opened.only.filter(|_| is_first))
        }
        Some(_) | None => Ok(None),
    }
}

async fn asked(node: &OsString, port: Option<NonZeroU16>) -> Result<Destination, Failure> {
    let port = port.into_iter().flat_map(|port| ["-p".into(), port.to_string().into()]);
    Ok(Destination::ask(port.chain(["--".into(), node.clone()]).collect()).await?)
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Ended(ended) => ended.into(),
            DestinationError::NotRun(_) | DestinationError::Unknown(_) | DestinationError::Far => {
                Self::usage(error)
            }
            DestinationError::Lost(_) => Self::unreachable(error),
        }
    }
}
