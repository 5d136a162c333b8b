//! Metrics: what Prometheus reads of a node, and the rules and the dashboard that go by it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_ebpf::{SessionId, SessionState};
use anyhow::{Context, Result, ensure};
use cotter_agent::datapath::Tables;
use lab::{ALICE, ELSEWHERE, Lab, Place, eventually, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, text};

const SOCKET: &str = "/run/cotter/metrics.sock";

// What is packaged; in here, for virtual machines do not have the sources.
const ALERTS: &str = include_str!("../../packaging/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../packaging/prometheus/alerts_test.yml");
const SCRAPE: &str = include_str!("../../packaging/prometheus/scrape.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/cotter.json");

/// Asks as an HTTP client does, in version 1.0 if the answer is to come in one piece; gives its head and its body.
fn ask(mut stream: impl Read + Write, request: &str) -> Result<(String, String)> {
    stream.write_all(format!("{request}\r\nHost: node\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    Ok((head.to_owned(), body.to_owned()))
}

fn connect(scene: &Scene) -> Result<UnixStream> {
    eventually("metrics are served", || Ok(scene.lab.node().enter(|| UnixStream::connect(SOCKET))?.ok()))
}

/// The metrics as they are, or were a second ago.
pub(crate) fn scrape(scene: &Scene) -> Result<String> {
    let stream = connect(scene)?;
    let (head, body) = ask(stream, "GET /metrics HTTP/1.1")?;
    ensure!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    ensure!(head.contains("content-type: application/openmetrics-text"), "{head}");
    Ok(body)
}

/// The value of a sample by all that stands before it.
pub(crate) fn sample(metrics: &str, name: &str) -> Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.with_context(|| format!("no {name} in:\n{metrics}"))?.parse().context("no number")
}

#[test]
fn metrics_tell_what_happened_on_the_node() -> Result<()> {
    let mut scene = Scene::enforcing()?;
    let fresh = scrape(&scene)?;
    assert_eq!(sample(&fresh, "cotter_map_entries{map=\"SESSIONS\"}")?, 0.0);
    assert_eq!(sample(&fresh, "cotter_mode{mode=\"enforce\"}")?, 1.0);
    assert_eq!(sample(&fresh, "cotter_interface_covered{interface=\"eth-alice\",method=\"xdp\"}")?, 1.0);
    assert_eq!(sample(&fresh, "cotter_takeovers_total")?, 0.0);

    let alice = scene.alice()?;
    let mut session = scene.at_alice(&alice).stay()?;
    assert!(!scene.at_elsewhere(&alice).run("true")?.status.success());
    scene.agent.told(&["lock", "--login", "alice"])?;
    within(Duration::from_secs(5), "her client notices", || session.ended())?;
    let metrics = eventually("the cut is counted", || {
        let metrics = scrape(&scene)?;
        Ok((sample(&metrics, "cotter_events_total{event=\"session_cut\"}")? == 1.0).then_some(metrics))
    })?;
    let logins = |labels: &str| sample(&metrics, &format!("cotter_logins_total{{{labels}}}"));
    assert_eq!(logins("outcome=\"allowed\",reason=\"allowed\",step=\"session\"")?, 1.0);
    assert!(logins("outcome=\"denied\",reason=\"pin_mismatch\",step=\"principals\"")? >= 1.0);
    assert_eq!(sample(&metrics, "cotter_login_decision_seconds_count{step=\"session\"}")?, 1.0);
    assert_eq!(sample(&metrics, "cotter_locks")?, 1.0);
    assert!(sample(&metrics, "cotter_packets_total{action=\"pass\",reason=\"pinned\"}")? > 3.0);

    // The kernel goes on counting; an agent that comes back says that it took over.
    scene.agent.kill9()?;
    scene.agent.start()?;
    let after = scrape(&scene)?;
    assert_eq!(sample(&after, "cotter_takeovers_total")?, 1.0);
    assert!(sample(&after, "cotter_packets_total{action=\"pass\",reason=\"pinned\"}")? > 3.0);
    Ok(())
}

#[test]
fn drops_are_counted_on_the_interface_they_came_in_by() -> Result<()> {
    let scene = Scene::enforcing()?;
    let mut session = scene.at_alice(&scene.alice()?).stay()?;
    let drops = |device: &str| -> Result<f64> {
        let name = format!("cotter_interface_drops_total{{interface=\"{device}\",method=\"xdp\"}}");
        sample(&scrape(&scene)?, &name)
    };
    assert_eq!((drops(ALICE.device)?, drops(ELSEWHERE.device)?), (0.0, 0.0));
    let id = u64::from_str_radix(text(&scene.session_of("alice")?, "id")?, 16)?;
    let tables = scene.lab.node().enter(|| Tables::open("/sys/fs/bpf/cotter".as_ref()))??;
    let kernel = tables.session(SessionId::new(id))?.context("the session is not in the kernel")?;
    tables.update_session(SessionId::new(id), &kernel.with_state(SessionState::Cut))?;
    session.send("still here")?;
    eventually("drops are counted", || Ok((drops(ALICE.device)? >= 3.0).then_some(())))?;
    assert_eq!(drops(ELSEWHERE.device)?, 0.0);
    Ok(())
}

#[test]
fn metrics_are_read_by_those_who_may_and_by_get_alone() -> Result<()> {
    let scene = Scene::enforcing()?;
    drop(connect(&scene)?);
    let mode = scene.lab.node().enter(|| std::fs::metadata(SOCKET).map(|file| file.mode() & 0o777))??;
    assert_eq!(mode, 0o660);
    assert!(ask(connect(&scene)?, "GET / HTTP/1.1")?.0.starts_with("HTTP/1.1 404"));
    assert!(ask(connect(&scene)?, "POST /metrics HTTP/1.1")?.0.starts_with("HTTP/1.1 405"));
    // Whoever goes away without hearing the answer leaves no work behind.
    for _ in 0..500 {
        connect(&scene)?.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")?;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.agent.pid()?.as_raw_pid()))?;
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).context("no Threads")?;
    assert!(threads.trim().parse::<u32>()? < 20, "{threads} threads");
    // Callers that never ask are sent away, and others are served then.
    let silent: Vec<UnixStream> = (0..8).map(|_| connect(&scene)).collect::<Result<_>>()?;
    scrape(&scene)?;
    drop(silent);
    Ok(())
}

/// A node that serves metrics on a port, with the drop-in that the unit asks for.
fn on_a_port() -> Result<Scene> {
    let lab = Lab::with_systemd()?;
    let drop_in = "[Service]\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=localhost\n";
    lab.node().write("/etc/systemd/system/cotter-agent.service.d/metrics.conf", drop_in)?;
    lab.node().run("systemctl", &["daemon-reload"])?;
    Scene::in_lab(lab, "enforce", |agent| agent.line("metrics = \"127.0.0.1:9732\""), |sshd| sshd)
}

#[test]
fn metrics_are_served_on_a_port_where_that_is_asked_for_and_nowhere_where_not() -> Result<()> {
    let tcp = on_a_port()?;
    let node = tcp.lab.node();
    let stream =
        eventually("metrics are served", || Ok(node.enter(|| TcpStream::connect("127.0.0.1:9732"))?.ok()))?;
    assert!(ask(stream, "GET /metrics HTTP/1.1")?.1.ends_with("# EOF\n"));
    assert!(node.enter(|| UnixStream::connect(SOCKET))?.is_err());
    let off = Scene::new("enforce", |agent| agent.line("metrics = \"off\""), |sshd| sshd)?;
    assert!(off.lab.node().enter(|| UnixStream::connect(SOCKET))?.is_err());
    Ok(())
}

#[test]
fn prometheus_reads_the_metrics_and_takes_the_alert_rules() -> Result<()> {
    let scene = on_a_port()?;
    let node = scene.lab.node();
    scene.at_alice(&scene.alice()?).succeed("true")?;
    let global = "global: { scrape_interval: 1s }\nrule_files: [/root/alerts.yml]\n";
    node.write("/root/prometheus.yml", &format!("{global}{SCRAPE}"))?;
    node.write("/root/alerts.yml", ALERTS)?;
    let mut prometheus = Place::command("prometheus");
    prometheus.args(["--config.file=/root/prometheus.yml", "--storage.tsdb.path=/root/prometheus"]);
    prometheus.args(["--web.listen-address=127.0.0.1:9090"]).stderr(Stdio::null());
    let _prometheus = node.spawn(&mut prometheus)?;
    let asked = |path: &str| -> Result<Value> {
        let stream = node.enter(|| TcpStream::connect("127.0.0.1:9090"))??;
        let answer = ask(stream, &format!("GET /api/v1/{path} HTTP/1.0"))?.1;
        serde_json::from_str(&answer).context(answer)
    };
    // {job="cotter"}
    let query = "query?query=%7Bjob%3D%22cotter%22%7D";
    let samples = eventually("Prometheus has read the node's metrics", || {
        let Ok(answer) = asked(query) else { return Ok(None) };
        Ok(answer["data"]["result"].as_array().filter(|samples| samples.len() > 30).cloned())
    })?;
    let up = samples.iter().find(|sample| sample["metric"]["__name__"] == "up").context("no `up`")?;
    assert_eq!(up["value"][1], "1");
    let rules = asked("rules")?;
    assert_eq!(rules["data"]["groups"][0]["rules"].as_array().map(Vec::len), Some(11), "{rules}");
    Ok(())
}

#[test]
fn promtool_finds_the_alert_rules_to_do_what_they_should() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (name, text) in [("alerts.yml", ALERTS), ("alerts_test.yml", ALERTS_TEST), ("scrape.yml", SCRAPE)] {
        std::fs::write(directory.path().join(name), text)?;
    }
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
        ["check", "config", "scrape.yml"],
    ] {
        let output = Command::new("promtool").args(arguments).current_dir(&directory).output()?;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[test]
fn the_dashboard_and_the_alert_rules_go_by_metrics_that_there_are() -> Result<()> {
    let scene = Scene::enforcing()?;
    // One interface that is not there, so that there is something to complain of.
    let config = scene.lab.node().read("/etc/cotter/agent.toml")?;
    scene.lab.node().write("/etc/cotter/agent.toml", &config.replace(ELSEWHERE.device, "missing"))?;
    scene.agent.signal(Signal::HUP)?;
    eventually("the missing interface is complained of", || {
        Ok(scrape(&scene)?.contains("interface_not_covered{interface=\"missing\"").then_some(()))
    })?;
    scene.at_alice(&scene.alice()?).succeed("true")?;
    let metrics = eventually("the login is counted", || {
        Ok(Some(scrape(&scene)?).filter(|metrics| metrics.contains("cotter_login_decision_seconds_bucket")))
    })?;
    let known: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for (file, text) in [("alerts", ALERTS), ("their test", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        let named: BTreeSet<&str> = text
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .filter(|word| word.starts_with("cotter_"))
            .collect();
        assert!(named.len() > 5, "{file}");
        for name in named {
            assert!(known.contains(name), "{file}: {name} is not among the node's metrics:\n{metrics}");
        }
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()), "{panels:?}");
    Ok(())
}
