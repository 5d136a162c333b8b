//! The kernel programs and the pure function say the same of the same packets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use agent_ebpf::{
    ABI_VERSION, Address, Flow, FlowKey, GatedPort, Gates, Grant, Layer, Leg, Mode, NEVER, Network, Node,
    Packet, Penalty, Port, PortClass, Ports, PrefilterBits, Protocol, Reason, Session, SessionId,
    SessionState, verdict,
};
use aya::maps::{Array, Map, MapData};
use aya::programs::ProgramInfo;
use cotter_agent::datapath::{Datapath, Judge, KernelLog, Method, Settings, Tables, now};
use lab::frames::{Dice, Frame, odd};

use crate::world::World;

/// Judged by each program, unless [`FEWER`] says otherwise.
const PACKETS: usize = 120_000;
/// The environment variable for machines on which that many take too long.
const FEWER: &str = "COTTER_VERDICT_PACKETS";
/// In this many states of the node, one after the other.
const NODES: usize = 6;
/// Each reason comes up at least once in so many packets.
const OF_EACH_REASON: usize = 200;

/// The reasons that packets have.
const REASONS: [Reason; 16] = [
    Reason::NotIp,
    Reason::NotProtected,
    Reason::NotLocal,
    Reason::Fragment,
    Reason::Pinned,
    Reason::LoginAttempt,
    Reason::Granted,
    Reason::NeverDrop,
    Reason::Audit,
    Reason::AddressMismatch,
    Reason::SessionExpired,
    Reason::SessionCut,
    Reason::NoGrant,
    Reason::Penalty,
    Reason::MptcpJoin,
    Reason::Malformed,
];

#[test]
fn the_program_for_xdp_and_the_pure_function_agree_on_every_packet() {
    agree(Method::Xdp, |frame| (frame, Layer::Ethernet));
}

#[test]
fn the_program_for_tc_and_the_pure_function_agree_on_every_packet() {
    agree(Method::Tcx, with_whole_header);
}

#[test]
fn the_program_for_tc_without_ethernet_and_the_pure_function_agree_on_every_packet() {
    agree(Method::Tcx, without_ethernet);
}

/// Linux 6.18 runs TC's programs on no IP packet that ends within its fixed header; it gets one without any content.
fn with_whole_header(frame: &[u8]) -> (&[u8], Layer) {
    let whole = match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.len() >= 14 + 20,
        Some([0x86, 0xdd]) => frame.len() >= 14 + 40,
        Some(_) => true,
        None => false,
    };
    (if whole { frame } else { &[] }, Layer::Ethernet)
}

/// The verifier gives up after a million steps (`BPF_COMPLEXITY_LIMIT_INSNS`), and each kernel walks its own way.
#[test]
fn the_verifier_is_far_from_its_limit() {
    const FAR: u32 = 300_000;
    in_a_private_namespace(|| {
        let pins = Path::new("/sys/fs/bpf/verdict");
        let _datapath = open(pins);
        // The longest of them.
        let program = pins.join(format!("v{ABI_VERSION}/prog_cotter_xdp"));
        let steps = ProgramInfo::from_pin(&program).unwrap().verified_instruction_count().unwrap();
        assert!(steps < FAR, "{steps} steps");
    });
}

/// A packet as it comes in on a device without Ethernet: VLAN tags belong to Ethernet too.
fn without_ethernet(mut frame: &[u8]) -> (&[u8], Layer) {
    const TAG: usize = 4;
    while let [0x81, 0x00] | [0x88, 0xa8] = frame.get(12..14).unwrap_or_default() {
        frame = &frame[TAG.min(frame.len())..];
    }
    (frame.get(14..).unwrap_or_default(), Layer::Ip)
}

/// Judges as many packets by the kernel's program and by the pure function, and each reason comes up often enough.
fn agree(method: Method, packet_of: fn(&[u8]) -> (&[u8], Layer)) {
    let packets = packets();
    in_a_private_namespace(|| {
        let pins = Path::new("/sys/fs/bpf/verdict");
        let datapath = open(pins);
        let tables = datapath.tables().unwrap();
        let mut judge = Judge::open(pins, method).unwrap();
        let mut world = node();
        load(&world, &tables);
        let before = tables.counters().unwrap();

        let mut dice = Dice::new(1);
        let mut histogram = BTreeMap::new();
        for number in 0..packets {
            if number % (packets / NODES) == 0 {
                world.node = *dice.one_of(&nodes(world.now));
                tables.set_node(&world.node).unwrap();
                // What is not known at once is asked for in full.
                if number / (packets / NODES) % 2 == 1 {
                    tables.forget_home().unwrap();
                } else {
                    tables.set_local(&world.local).unwrap();
                }
            }
            let (source, destination) = ends(&mut dice);
            let frame = odd(&mut dice, source, destination);
            let (packet, layer) = packet_of(&frame);
            let expected = verdict(&Packet::parse(packet, layer), &world);
            let judged = judge.judge(packet, layer).unwrap();
            assert_eq!(
                (judged.reason, judged.overruled),
                (expected.reason, expected.overruled),
                "packet {number} in {:?}: {packet:02x?}",
                world.node
            );
            *histogram.entry(judged.reason).or_insert(0) += 1;
        }

        println!("{packets} packets, the same verdict on each:");
        for reason in REASONS {
            println!("{:>18} {}", reason.name(), histogram.get(&reason).unwrap_or(&0));
        }
        for reason in REASONS {
            let times = histogram.get(&reason).copied().unwrap_or(0);
            assert!(times >= packets / OF_EACH_REASON, "{}: only {times} of {packets}", reason.name());
        }
        assert_eq!(tables.counters().unwrap(), before, "judging leaves no trace in the live counters");
    });
}

/// Programs that log need more of the stack, which Linux 6.1 adds up over all functions that call each other.
#[test]
fn programs_that_log_every_drop_are_taken_by_the_kernel() {
    in_a_private_namespace(|| {
        let pins = Path::new("/sys/fs/bpf/verdict");
        let datapath = open_with(pins, KernelLog::Debug);
        datapath.tables().unwrap();
    });
}

/// An agent of another release, which has set the mode meanwhile, knows nothing of the copies that this one keeps.
#[test]
fn an_agent_that_takes_over_goes_by_no_copy_of_an_earlier_one() {
    in_a_private_namespace(|| {
        let pins = Path::new("/sys/fs/bpf/verdict");
        let first = open(pins);
        let mut world = node();
        load(&world, &first.tables().unwrap());
        first.tables().unwrap().set_node(&world.node).unwrap();
        drop(first);
        world.node = Node::in_mode(Mode::Off);
        let pinned = MapData::from_pin(pins.join(format!("v{ABI_VERSION}/NODE"))).unwrap();
        Array::try_from(Map::Array(pinned)).unwrap().set(0, world.node, 0).unwrap();

        let _second = open(pins);
        let gated = SocketAddr::new(NODE_V4.parse().unwrap(), DATABASE);
        let frame = Frame::syn("203.0.113.77:40000".parse().unwrap(), gated, &[]).ethernet();
        let judged = Judge::open(pins, Method::Xdp).unwrap().judge(&frame, Layer::Ethernet).unwrap();
        assert_eq!(judged.reason, verdict(&Packet::parse(&frame[..], Layer::Ethernet), &world).reason);
        assert_eq!(judged.reason, Reason::NotProtected);
    });
}

fn open(pins: &Path) -> Datapath {
    open_with(pins, KernelLog::Off)
}

fn open_with(pins: &Path, kernel_log: KernelLog) -> Datapath {
    let settings = Settings { pin_dir: pins.into(), max_sessions: 64, kernel_log, sessions_cgroup: None };
    Datapath::open(&settings).unwrap().0
}

fn packets() -> usize {
    let fewer = std::env::var(FEWER).ok();
    fewer.map_or(PACKETS, |text| text.parse().expect("COTTER_VERDICT_PACKETS is a number of packets"))
}

/// The states of a node that packets are judged in, each about as often as the others.
fn nodes(now: u64) -> [Node; NODES] {
    [
        Node::in_mode(Mode::Enforce),
        Node::in_mode(Mode::Enforce),
        Node::until(Mode::Audit, now, Mode::Enforce),
        Node::until(Mode::Enforce, NEVER - 1, Mode::Off),
        Node::in_mode(Mode::Audit),
        Node::until(Mode::Enforce, now, Mode::Audit),
    ]
}

/// A login port behind a gate.
const DARK: u16 = 2022;
/// A service behind a gate, which for UDP nobody opens.
const DATABASE: u16 = 5432;

const NODE_V4: &str = "192.0.2.10";
const NODE_V6: &str = "2001:db8::10";

fn address(text: &str) -> Address {
    Address::from(text.parse::<std::net::IpAddr>().unwrap())
}

fn host(text: &str) -> Network {
    Network::host(address(text))
}

/// Twelve sources in either family; those of the first eight have sessions, the ninth is under penalty, the tenth was,
/// the eleventh is never dropped.
fn sources() -> Vec<SocketAddr> {
    let v4 = (1..=12u8).map(|last| SocketAddr::from(([198, 51, 100, last], 40_000)));
    let v6 = (1..=12u16).map(|net| SocketAddr::from(([0x2001, 0xdb8, 1, net, 0, 0, 0, 1], 40_000)));
    v4.chain(v6).collect()
}

fn login(source: &SocketAddr) -> SocketAddr {
    let node = if source.is_ipv4() { NODE_V4 } else { NODE_V6 };
    SocketAddr::new(node.parse().unwrap(), 22)
}

fn session(number: usize, source: Address, now: u64) -> Session {
    let own = Network::host(source);
    let elsewhere: Vec<_> = (1..=7).map(|last| host(&format!("203.0.113.{last}"))).collect();
    let many = [&elsewhere[..], &[own]].concat();
    match number {
        0 => Session::pinned(&[own]),
        1 => Session::pinned(&elsewhere),
        2 => Session::pinned(&[own]).with_deadline(now),
        3 => Session::pinned(&[own]).with_state(SessionState::Cut),
        4 => Session::pinned(&many).with_deadline(NEVER - 1),
        5 => Session::pinned(&[]).with_mode(Mode::Audit),
        6 => Session::pinned(&elsewhere).with_mode(Mode::Off),
        _ => Session::unpinned(),
    }
}

fn node() -> World {
    let now = now();
    let mut world = World {
        ports: [
            (22, PortClass::TCP_LOGIN),
            (2222, PortClass::TCP_LOGIN),
            (DARK, PortClass::TCP_LOGIN.and(PortClass::gated(Protocol::Tcp))),
            (DATABASE, PortClass::gated(Protocol::Tcp).and(PortClass::gated(Protocol::Udp))),
        ]
        .into(),
        gates: [(GatedPort::new(Protocol::Tcp, Port::new(DATABASE)), Gates::NONE.with(0))].into(),
        local: [address(NODE_V4), address(NODE_V6)].into(),
        never_drop: vec![host("198.51.100.11"), Network::new(address("2001:db8:1:b::"), 64)],
        ..World::enforcing(now)
    };
    for (index, source) in sources().into_iter().enumerate() {
        // No socket of this machine will ever have such a cookie.
        let cookie = (1 << 60) + index as u64;
        let (number, from) = (index % 12, Address::from(source.ip()));
        let id = SessionId::new(index as u64 + 1);
        let key = FlowKey::tcp(source, login(&source));
        match number {
            0..8 => {
                let session = session(number, from, now).with_gates(Gates::NONE.with(0));
                // Those of IPv6 have lost their connections, and one of them is in use all the same.
                let connection = if source.is_ipv4() { cookie } else { 0 };
                world.sessions.insert(id, session.with_connection(connection));
                let leg = match index % 5 {
                    0 => Leg::Outer,
                    1 => Leg::Inner,
                    _ => Leg::Whole,
                };
                world.flows.insert(key, Flow::of(id, cookie).on(leg));
                // Of every other balancer's connection nobody knows whose it is.
                if leg == Leg::Outer && index % 2 == 0 {
                    world.observed.insert(cookie, from);
                }
                world.connected.insert(cookie);
                world.grants.insert(from, Grant::of(&[SessionId::new(1 << 40), id]));
                world.uses.insert(id, if number == 0 { now } else { 0 });
            }
            8 => drop(world.penalties.insert(from.neighbourhood(), Penalty::until(NEVER))),
            9 => drop(world.penalties.insert(from.neighbourhood(), Penalty::until(now))),
            10 => drop(world.flows.insert(key, Flow::cut(cookie))),
            11 => drop(world.grants.insert(from, Grant::of(&[]).knocked(NEVER))),
            _ => unreachable!("there are twelve of a family"),
        }
    }
    world
}

/// Puts the same into the kernel's maps.
fn load(world: &World, tables: &Tables) {
    let mut ports = Box::new(Ports::none());
    for (port, class) in &world.ports {
        ports.set(Port::new(*port), *class);
    }
    tables.set_ports(&ports).unwrap();
    tables.set_local(&world.local).unwrap();
    tables.set_never_drop(&world.never_drop).unwrap();
    for (id, session) in &world.sessions {
        tables.insert_session(*id, session, b"{}").unwrap();
    }
    for (key, flow) in &world.flows {
        match (flow.leg(), world.observed.get(&flow.cookie())) {
            (Leg::Outer, Some(user)) => tables.insert_outer_flow(key, flow, *user).unwrap(),
            _ => tables.insert_flow(key, flow).unwrap(),
        }
    }
    tables.set_gates(&world.gates).unwrap();
    for (address, grant) in &world.grants {
        tables.put_grant(*address, grant).unwrap();
    }
    tables.replace_prefilter(world.grants.keys().copied().map(PrefilterBits::of)).unwrap();
    for (id, last) in &world.uses {
        tables.set_use(*id, *last).unwrap();
    }
    for (source, penalty) in &world.penalties {
        tables.add_penalty(*source, penalty.end()).unwrap();
    }
}

/// Mostly known flows, then their neighbours: another port, another of the node's ports, another address.
fn ends(dice: &mut Dice) -> (SocketAddr, SocketAddr) {
    let mut source = *dice.one_of(&sources());
    let mut destination = login(&source);
    match dice.below(10) {
        0 => source.set_port(50_000),
        1 => destination.set_port(*dice.one_of(&[2222, 80, 23])),
        3 | 4 => destination.set_port(*dice.one_of(&[DATABASE, DATABASE, DARK])),
        2 => {
            let elsewhere = if source.is_ipv4() { "10.0.0.5" } else { "fd00::5" };
            destination.set_ip(elsewhere.parse().unwrap());
        }
        _known => {}
    }
    (source, destination)
}

/// Runs on a thread of its own that has network devices and a bpffs of its own.
pub(crate) fn in_a_private_namespace(test: impl FnOnce() + Send) {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::UnshareFlags;

    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[expect(deprecated, reason = "what is unsound is unsharing file descriptors; they stay shared")]
            rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::FS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}
