//! The agent's hands on the kernel: what it finds, keeps, copies and leaves alone.

use std::fs;
use std::net::{SocketAddrV6, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agent_ebpf::{ABI_VERSION, Address, Flow, FlowKey, Network, Reason, Session, SessionId};
use cotter_agent::datapath::{AttachMode, Datapath, Error, KernelLog, Method, Settings, Takeover, TcHook};
use cotter_agent::interfaces::{self, Interface};
use lab::kernel::has_tcx;

use crate::kernel_verdict::in_a_private_namespace;

const PINS: &str = "/sys/fs/bpf/cotter";
const ID: SessionId = SessionId::new(7);

fn settings(pins: &str, max_sessions: u32) -> Settings {
    Settings { pin_dir: pins.into(), max_sessions, kernel_log: KernelLog::Off, sessions_cgroup: None }
}

fn open(pins: &str) -> (Datapath, Takeover) {
    Datapath::open(&settings(pins, 64)).unwrap()
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

/// A device with one end here.
fn device() -> Interface {
    run("ip link add n0 type veth peer name n1");
    run("ip link set n0 up");
    run("ip link set n1 up");
    interfaces::list().unwrap().into_iter().find(|interface| interface.name == "n0").unwrap()
}

fn flow() -> FlowKey {
    FlowKey::tcp("198.51.111.1:40000".parse().unwrap(), "192.0.2.10:22".parse().unwrap())
}

/// An agent that judges on `device`, knows a session and is gone.
fn agent_that_died(device: &Interface) -> Method {
    let (mut datapath, found) = open(PINS);
    assert_eq!(found, Takeover::Fresh);
    let tables = datapath.tables().unwrap();
    tables.insert_session(ID, &Session::unpinned(), b"alice").unwrap();
    // No socket of this machine will ever have such a cookie.
    tables.insert_flow(&flow(), &Flow::of(ID, 1 << 60)).unwrap();
    datapath.attach(device, AttachMode::Auto, TcHook::Auto).unwrap().method
}

fn methods(datapath: &Datapath) -> Vec<Method> {
    datapath.attachments().map(|attachment| attachment.method).collect()
}

fn version(abi: u32) -> String {
    format!("{PINS}/v{abi}")
}

#[track_caller]
fn assert_knows_the_session(datapath: &Datapath) {
    let tables = datapath.tables().unwrap();
    assert_eq!(tables.session(ID).unwrap(), Some(Session::unpinned()));
    assert_eq!(tables.details(ID).unwrap().as_deref(), Some(&b"alice"[..]));
    assert_eq!(tables.flow(&flow()).unwrap(), Some(Flow::of(ID, 1 << 60)));
}

#[test]
fn a_new_agent_goes_on_with_the_sessions_and_the_attachments_of_the_last() {
    in_a_private_namespace(|| {
        let device = device();
        assert_eq!(agent_that_died(&device), Method::Xdp);
        let (mut datapath, found) = open(PINS);
        assert_eq!(found, Takeover::SameVersion { sessions: 1 });
        assert_eq!(methods(&datapath), [Method::Xdp]);
        assert_eq!(datapath.verify().unwrap(), []);
        assert_knows_the_session(&datapath);
    });
}

#[test]
fn maps_of_another_size_or_a_neighbouring_version_are_copied() {
    in_a_private_namespace(|| {
        let device = device();
        agent_that_died(&device);
        let (mut datapath, found) = Datapath::open(&settings(PINS, 32)).unwrap();
        assert_eq!(found, Takeover::Migrated { from: ABI_VERSION, sessions: 1 });
        assert_eq!((methods(&datapath), datapath.verify().unwrap()), (vec![Method::Xdp], vec![]));
        assert_knows_the_session(&datapath);
        drop(datapath);

        fs::rename(version(ABI_VERSION), version(ABI_VERSION + 1)).unwrap();
        let (mut datapath, found) = open(PINS);
        assert_eq!(found, Takeover::Migrated { from: ABI_VERSION + 1, sessions: 1 });
        assert_eq!((methods(&datapath), datapath.verify().unwrap()), (vec![Method::Xdp], vec![]));
        assert_knows_the_session(&datapath);
        assert!(!Path::new(&version(ABI_VERSION + 1)).exists(), "nothing of the other version stays");
    });
}

/// Packets that any reason has counted.
fn counted(datapath: &Datapath) -> u64 {
    let counters = datapath.tables().unwrap().counters().unwrap();
    Reason::ALL.into_iter().map(|reason| counters.of(reason)).sum()
}

/// Sends packets to the device, until a number of them has been judged.
fn be_judged(datapath: &Datapath, packets: u64) {
    let all_nodes = SocketAddrV6::new("ff02::1".parse().unwrap(), 9, 0, index_of("n1"));
    let socket = UdpSocket::bind("[::]:0").unwrap();
    while counted(datapath) < packets {
        // An address must have come up before.
        let _sent = socket.send_to(b"x", all_nodes);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn index_of(device: &str) -> u32 {
    interfaces::list().unwrap().into_iter().find(|interface| interface.name == device).unwrap().index
}

#[test]
fn what_was_counted_in_other_maps_is_still_counted() {
    in_a_private_namespace(|| {
        agent_that_died(&device());
        let (mut former, _) = open(PINS);
        for (generation, max_sessions) in [(1, 32), (2, 16)] {
            be_judged(&former, 500 * generation);
            drop(former);
            let (datapath, found) = Datapath::open(&settings(PINS, max_sessions)).unwrap();
            assert_eq!(found, Takeover::Migrated { from: ABI_VERSION, sessions: 1 });
            let after = counted(&datapath);
            assert!((500 * generation..500 * generation + 400).contains(&after), "{after}: each counts once");
            former = datapath;
        }
    });
}

#[test]
fn what_cannot_be_used_is_replaced_and_never_keeps_the_agent_from_starting() {
    in_a_private_namespace(|| {
        let device = device();
        agent_that_died(&device);
        let spoil: [(&str, fn()); 3] = [
            ("a version too far away", || {
                fs::rename(version(ABI_VERSION), version(ABI_VERSION + 8)).unwrap();
            }),
            ("a map is missing", || fs::remove_file(version(ABI_VERSION) + "/SESSIONS").unwrap()),
            ("a map is another", || {
                fs::rename(version(ABI_VERSION) + "/FLOWS", version(ABI_VERSION) + "/SESSIONS").unwrap();
            }),
        ];
        for (what, spoil) in spoil {
            spoil();
            let (mut datapath, found) = open(PINS);
            assert!(matches!(found, Takeover::StartedAfresh { .. }), "{what}: {found:?}");
            assert_eq!(methods(&datapath), [Method::Xdp], "{what}: still attached");
            assert_eq!(datapath.verify().unwrap(), [], "{what}");
            assert_eq!(datapath.tables().unwrap().sessions().unwrap(), []);
            let left: Vec<_> = fs::read_dir(PINS).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left, [Path::new(&version(ABI_VERSION))], "{what}");
        }
    });
}

/// As if a start had ended while the new maps were put together.
fn interrupted_before() {
    fs::create_dir(format!("{PINS}/staging")).unwrap();
    fs::rename(version(ABI_VERSION) + "/EVENTS", format!("{PINS}/staging/EVENTS")).unwrap();
}

/// As if a start had ended when the new maps were in place, and the links not yet.
fn interrupted_after() {
    fs::create_dir(format!("{PINS}/staging")).unwrap();
    for entry in fs::read_dir(version(ABI_VERSION)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("link_cotter_xdp") {
            fs::rename(entry.path(), format!("{PINS}/staging/{name}")).unwrap();
        }
    }
}

#[test]
fn an_interrupted_start_loses_neither_sessions_nor_attachments() {
    in_a_private_namespace(|| {
        let device = device();
        agent_that_died(&device);
        for interrupt in [interrupted_before, interrupted_after] {
            interrupt();
            let (mut datapath, found) = open(PINS);
            let known = match found {
                Takeover::SameVersion { sessions } | Takeover::Migrated { sessions, .. } => sessions,
                Takeover::Fresh | Takeover::StartedAfresh { .. } => 0,
            };
            assert_eq!(known, 1);
            assert_eq!((methods(&datapath), datapath.verify().unwrap()), (vec![Method::Xdp], vec![]));
            assert_knows_the_session(&datapath);
            let left: Vec<_> = fs::read_dir(PINS).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left, [Path::new(&version(ABI_VERSION))]);
        }
    });
}

#[test]
fn an_agent_in_another_network_namespace_does_not_take_its_devices_for_the_last_ones() {
    in_a_private_namespace(|| {
        agent_that_died(&device());
        #[expect(deprecated, reason = "what is unsound is unsharing file descriptors; they stay shared")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
        let here = device();
        let (mut datapath, _) = open(PINS);
        datapath.verify().unwrap();
        assert_eq!(methods(&datapath), [], "{} has nothing on it here", here.name);
        assert_eq!(datapath.attach(&here, AttachMode::Auto, TcHook::Auto).unwrap().method, Method::Xdp);
        assert_eq!(datapath.verify().unwrap(), []);
        assert_knows_the_session(&datapath);
    });
}

#[test]
fn a_pin_that_somebody_removed_is_put_back_and_the_program_stays() {
    in_a_private_namespace(|| {
        for how in [AttachMode::Auto, AttachMode::Tc] {
            let device = device();
            let (mut datapath, _) = open(PINS);
            let method = datapath.attach(&device, how, TcHook::Auto).unwrap().method;
            let pins = || {
                let names = fs::read_dir(version(ABI_VERSION)).unwrap().map(|entry| entry.unwrap().path());
                names.filter(|path| path.to_str().unwrap().contains(&format!("_{}", device.index)))
            };
            for pin in pins() {
                fs::remove_file(pin).unwrap();
            }
            assert_eq!(pins().count(), 0);
            assert_eq!(datapath.verify().unwrap(), []);
            // A filter at clsact is no link, and has none.
            let pinned = usize::from(method != Method::Clsact);
            assert_eq!((pins().count(), methods(&datapath)), (pinned, vec![method]));
            run("ip link del n0");
            assert_eq!(datapath.verify().unwrap().len(), 1);
        }
    });
}

#[test]
fn tables_that_are_full_take_in_their_new_contents_all_the_same() {
    in_a_private_namespace(|| {
        let (datapath, _) = open(PINS);
        let tables = datapath.tables().unwrap();
        let networks = |net: u8| -> Vec<Network> {
            let host = |number: u16| [10, net, number.to_be_bytes()[0], number.to_be_bytes()[1]];
            (0..4000).map(|number| Network::host(Address::v4(host(number)))).collect()
        };
        tables.set_never_drop(&networks(1)).unwrap();
        tables.set_never_drop(&networks(2)).unwrap();
        assert!(tables.set_never_drop(&[networks(3), networks(4)].concat()).is_err());

        let id = |number: u64| SessionId::new(1000 + number);
        let full = (0..=128).find_map(|n| tables.insert_session(id(n), &Session::unpinned(), b"").err());
        assert!(matches!(full, Some(Error::TableFull { .. })), "{full:?}");
        assert_eq!(tables.sessions().unwrap().len(), 128);
        assert_eq!(tables.details(id(128)).unwrap(), None, "no trace of the one too many");
        assert_eq!(tables.drops(id(128)).unwrap(), None);
        let flow = |port: u16| FlowKey::tcp(([198, 51, 100, 1], port).into(), ([192, 0, 2, 10], 22).into());
        let flows = (0..=128)
            .find_map(|n| tables.insert_flow(&flow(n), &Flow::of(ID, (1 << 60) + u64::from(n))).err());
        assert!(matches!(flows, Some(Error::TableFull { .. })), "{flows:?}");
        assert_eq!(tables.flow(&flow(128)).unwrap(), None);
    });
}

/// What `auto` comes to at TC.
fn tc() -> Method {
    if has_tcx().unwrap() { Method::Tcx } else { Method::Clsact }
}

#[test]
fn programs_of_others_stay_where_they_are() {
    in_a_private_namespace(|| {
        let device = device();
        let (mut foreign, _) = open("/sys/fs/bpf/foreign");
        let (mut ours, _) = open(PINS);
        for (theirs, their_hook) in [
            (AttachMode::Xdp, TcHook::Auto),
            (AttachMode::Tc, TcHook::Auto),
            (AttachMode::Tc, TcHook::Clsact),
        ] {
            foreign.attach(&device, theirs, their_hook).unwrap();
            let device = interfaces::list().unwrap().into_iter().find(|one| one.name == "n0").unwrap();
            let how = if device.xdp.is_some() { AttachMode::Auto } else { AttachMode::Tc };
            assert_eq!(ours.attach(&device, how, TcHook::Auto).unwrap().method, tc());
            assert_eq!((foreign.verify().unwrap(), ours.verify().unwrap()), (vec![], vec![]));
            ours.detach(device.index).unwrap();
        }
        assert_eq!(ours.attach(&device, AttachMode::Tc, TcHook::Clsact).unwrap().method, Method::Clsact);
        ours.detach(device.index).unwrap();
        assert_eq!(foreign.verify().unwrap(), [], "the filter of the other stays");
    });
}

#[test]
fn a_filter_that_somebody_deleted_is_missed() {
    in_a_private_namespace(|| {
        let device = device();
        let (mut datapath, _) = open(PINS);
        let attachment = datapath.attach(&device, AttachMode::Tc, TcHook::Clsact).unwrap();
        assert_eq!(datapath.verify().unwrap(), []);
        run("tc filter del dev n0 ingress");
        assert_eq!(datapath.verify().unwrap(), [attachment]);
        assert_eq!(datapath.attachments().count(), 0);
        assert_eq!(datapath.attach(&device, AttachMode::Auto, TcHook::Auto).unwrap().method, Method::Xdp);
    });
}

#[test]
fn a_device_without_ethernet_is_judged_by_tc() {
    in_a_private_namespace(|| {
        run("ip tuntap add t0 mode tun");
        let device = interfaces::list().unwrap().into_iter().find(|one| one.name == "t0").unwrap();
        let (mut datapath, _) = open(PINS);
        assert_eq!(datapath.attach(&device, AttachMode::Auto, TcHook::Auto).unwrap().method, tc());
    });
}

#[test]
fn only_programs_that_a_device_takes_are_loaded_and_those_of_the_last_agent_go_with_their_devices() {
    in_a_private_namespace(|| {
        let classifier = version(ABI_VERSION) + "/prog_cotter_tc";
        let device = device();
        {
            let (mut datapath, _) = open(PINS);
            assert_eq!(datapath.attach(&device, AttachMode::Auto, TcHook::Auto).unwrap().method, Method::Xdp);
            assert!(!Path::new(&classifier).exists());
            datapath.attach(&device, AttachMode::Tc, TcHook::Clsact).unwrap();
            assert!(Path::new(&classifier).exists());
        }
        let (datapath, _) = open(PINS);
        assert_eq!(methods(&datapath), [Method::Clsact]);
        assert!(Path::new(&classifier).exists());
        drop(datapath);
        run("ip link del n0");
        let (datapath, _) = open(PINS);
        assert_eq!(methods(&datapath), []);
        assert!(!Path::new(&classifier).exists());
    });
}

#[test]
fn a_device_that_was_renamed_keeps_no_filter_of_ours_and_loses_none_of_others() {
    in_a_private_namespace(|| {
        let device = device();
        let (mut ours, _) = open(PINS);
        ours.attach(&device, AttachMode::Tc, TcHook::Clsact).unwrap();
        // Somebody else's filter, in the same place on another device.
        run("ip link add other type veth peer name end");
        let other = interfaces::list().unwrap().into_iter().find(|one| one.name == "other").unwrap();
        let (mut theirs, _) = open("/sys/fs/bpf/theirs");
        theirs.attach(&other, AttachMode::Tc, TcHook::Clsact).unwrap();
        for step in ["n0 down", "n0 name spare", "other name n0", "spare name other"] {
            run(&format!("ip link set {step}"));
        }
        ours.detach(device.index).unwrap();
        assert_eq!(theirs.verify().unwrap(), [], "theirs is still there");
        let left = Command::new("tc").args(["filter", "show", "dev", "other", "ingress"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "ours is gone");
    });
}

#[test]
fn a_pin_directory_that_others_could_change_is_not_used() {
    in_a_private_namespace(|| {
        fs::create_dir(PINS).unwrap();
        fs::set_permissions(PINS, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Datapath::open(&settings(PINS, 64)).unwrap_err();
        assert!(matches!(error, Error::PinDirectory { .. }), "{error}");
        let error = Datapath::open(&settings("/tmp/not-on-bpffs/cotter", 64)).unwrap_err();
        assert!(matches!(error, Error::PinDirectory { .. }), "{error}");
        assert!(!Path::new("/tmp/not-on-bpffs").exists(), "nothing is made where it cannot be used");
    });
}

#[test]
fn two_agents_cannot_use_one_pin_directory() {
    in_a_private_namespace(|| {
        let (_first, _) = open(PINS);
        let error = Datapath::open(&settings(PINS, 64)).unwrap_err();
        assert!(matches!(error, Error::AlreadyRunning { .. }), "{error}");
    });
}
