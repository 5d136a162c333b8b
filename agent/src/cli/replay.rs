//! `replay`: each packet of a capture through the loaded program; nothing is sent, no live map is written.

use super::exit::Failure;
use super::program::ProgramOptions;
use super::{Common, Exit, output};
use crate::config::Places;
use crate::datapath::{Judge, Judgement, Tables};
use agent_ebpf::Layer;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;

/// Room for the largest packet that a capture may hold, in bytes.
const BUFFER: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A capture in pcap or pcapng format
    file: PathBuf,
    #[command(flatten)]
    program: ProgramOptions,
}

#[derive(Debug, Serialize)]
struct Line {
    packet: u64,
    action: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    overruled: Option<&'static str>,
}

pub(super) fn replay(common: &Common, options: &Options) -> Result<Exit, Failure> {
    let pin_dir = Places::of(&common.config).bpf_pin_dir;
    let mut judge = Judge::open(&pin_dir, options.program.method()).map_err(Failure::unavailable)?;
    let tables = Tables::open(&pin_dir).map_err(Failure::unavailable)?;
    let mut number = 0;
    for_each_packet(&options.file, |packet, layer| {
        number += 1;
        let judged = judge
            .judge_throughout(packet, layer, &tables)
            .map_err(|error| Failure::unavailable(format!("packet {number}: {error}")))?;
        show(common, number, judged);
        Ok(())
    })?;
    Ok(Exit::Done)
}

fn show(common: &Common, packet: u64, judged: Judgement) {
    let overruled = judged.overruled.map(agent_ebpf::Reason::name);
    let line =
        Line { packet, action: judged.reason.action().name(), reason: judged.reason.name(), overruled };
    if common.json {
        return output::json_line(&line);
    }
    let overruled = line.overruled.map(|reason| format!(" (would be {reason})")).unwrap_or_default();
    output::line(&format!("{packet:>6}  {}  {}{overruled}", line.action, line.reason));
}

/// Calls with every packet of a capture and what it begins with.
fn for_each_packet(
    path: &PathBuf,
    mut each: impl FnMut(&[u8], Layer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let named = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| named(&error))?;
    let mut reader =
        create_reader(BUFFER, file).map_err(|error| named(&format!("not a capture: {error:?}")))?;
    let mut links: Vec<Linktype> = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let Some((link, data)) = packet(&block, &mut links) {
                    let layer =
                        layer(link).ok_or_else(|| named(&format!("link type {link:?} is not known")))?;
                    each(data, layer)?;
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|error| named(&format!("cut short: {error:?}")))?;
            }
            Err(error) => return Err(named(&format!("damaged: {error:?}"))),
        }
    }
}

/// The packet of a block, if it has one; remembers what the others say of the links.
fn packet<'a>(block: &'a PcapBlockOwned<'_>, links: &mut Vec<Linktype>) -> Option<(Linktype, &'a [u8])> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *links = vec![header.network];
            None
        }
        PcapBlockOwned::Legacy(packet) => Some((*links.first()?, packet.data)),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            links.push(interface.linktype);
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let captured = usize::try_from(packet.caplen).ok()?;
            let link = links.get(usize::try_from(packet.if_id).ok()?)?;
            Some((*link, packet.data.get(..captured)?))
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => Some((*links.first()?, packet.data)),
        PcapBlockOwned::NG(_) => None,
    }
}

/// What packets of a link type begin with; none for types that the program does not read.
fn layer(link: Linktype) -> Option<Layer> {
    match link {
        Linktype::ETHERNET => Some(Layer::Ethernet),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => Some(Layer::Ip),
        _ => None,
    }
}
