//! `cotter-hook pam`, run by a process that holds a TCP connection, as sshd's monitor does.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use cotter_hook::mode_file::Mode;
use cotter_hook::protocol::{Open, PAM_SOCKET, Reply, Request};
use cotter_hook::unmanaged;
use rustix::net::sockopt::socket_cookie;

use crate::agent::Agent;
use crate::node::Node;

const KEY: &str = "publickey ssh-ed25519 AAAAkey=\n";

/// A stand-in for the monitor: a shell whose standard input is a connection, and who runs the hook.
struct Monitor {
    process: Child,
    output: BufReader<ChildStdout>,
    client: TcpStream,
    cookie: u64,
}

impl Monitor {
    fn run_hook(node: &Node, pam_type: &str) -> Self {
        Self::run_hook_for(node, pam_type, "sshd")
    }

    fn run_hook_for(node: &Node, pam_type: &str, service: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let cookie = socket_cookie(&server).unwrap();
        let break_glass = node.break_glass();
        let mut process = Command::new("/bin/sh")
            .args(["-c", "\"$@\" </dev/null; echo \"exit $?\"; exec sleep 600", "sh"])
            .args(node.command(&["pam", "--break-glass", break_glass.to_str().unwrap()]))
            .env_clear()
            .env("PAM_TYPE", pam_type)
            .env("PAM_USER", "alice")
            .env("PAM_RHOST", "198.51.111.1")
            .env("PAM_SERVICE", service)
            .env("PAM_TTY", "ssh")
            .env("SSH_AUTH_INFO_0", KEY)
            .stdin(OwnedFd::from(server))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output, client, cookie }
    }

    /// What the hook printed, and its exit status as the last line.
    fn output(&mut self) -> String {
        let mut text = String::new();
        while !text.lines().any(|line| line.starts_with("exit ")) {
            assert_ne!(self.output.read_line(&mut text).unwrap(), 0, "ended early: {text}");
        }
        text
    }

    /// Waits for the connection to be destroyed under the client.
    fn is_destroyed(&mut self) -> bool {
        self.client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        self.client.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }

    fn is_connected(&self) -> bool {
        self.client.set_nonblocking(true).unwrap();
        self.client.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn open() -> Open {
    Open {
        user: "alice".into(),
        tty: "ssh".into(),
        service: "sshd".into(),
        rhost: "198.51.111.1".into(),
        auth_info: KEY.into(),
        cookie: None,
        break_glass: false,
    }
}

#[test]
fn an_allowed_session_opens_with_the_agents_words() {
    let node = Node::new();
    let reply = Reply::Allow { message: Some("pinned to 198.51.111.1".into()) };
    let requests = Agent::Replies(reply).serve(&node.socket(PAM_SOCKET));
    let mut monitor = Monitor::run_hook(&node, "open_session");
    assert_eq!(monitor.output(), "pinned to 198.51.111.1\nexit 0\n");
    let expected = Open { cookie: Some(monitor.cookie), ..open() };
    assert_eq!(requests.recv().unwrap(), Request::Open(expected));
    assert!(monitor.is_connected());
    assert_eq!(unmanaged::list(&node.runtime_dir()).unwrap(), []);
    assert_eq!(node.logged(), "");
}

#[test]
fn sessions_of_other_services_are_none_of_its_business() {
    let node = Node::in_mode(Mode::Enforce);
    for (service, exit) in [("su", "exit 0\n"), ("sshd", "exit 1\n")] {
        let mut monitor = Monitor::run_hook_for(&node, "open_session", service);
        assert!(monitor.output().ends_with(exit), "{service}");
    }
}

#[test]
fn a_denied_session_is_told_why_and_destroyed() {
    let node = Node::in_mode(Mode::Audit);
    let reply = Reply::Deny { message: "cotter: pin_mismatch\ncotter: log in again".into() };
    let _requests = Agent::Replies(reply).serve(&node.socket(PAM_SOCKET));
    let mut monitor = Monitor::run_hook(&node, "open_session");
    assert_eq!(monitor.output(), "cotter: pin_mismatch\ncotter: log in again\nexit 1\n");
    assert!(monitor.is_destroyed());
}

#[test]
fn in_enforce_no_answer_is_a_refusal() {
    for agent in [None, Some(Agent::Hung), Some(Agent::Dribbles), Some(Agent::Sends(vec![0; 100]))] {
        let node = Node::in_mode(Mode::Enforce);
        let _requests = agent.map(|agent| agent.serve(&node.socket(PAM_SOCKET)));
        let mut monitor = Monitor::run_hook(&node, "open_session");
        let output = monitor.output();
        assert!(output.contains("cannot check logins") && output.ends_with("exit 1\n"), "{output}");
        assert!(monitor.is_destroyed());
        let logged = node.logged();
        assert!(
            logged.contains("login of alice from 198.51.111.1: ") && logged.contains("mode enforce"),
            "{logged}"
        );
    }
}

#[test]
fn in_audit_and_off_no_answer_lets_in_and_leaves_a_mark() {
    for (mode, agent) in [(Mode::Audit, None), (Mode::Off, None), (Mode::Audit, Some(Agent::Hung))] {
        let node = Node::in_mode(mode);
        let _requests = agent.map(|agent| agent.serve(&node.socket(PAM_SOCKET)));
        let mut monitor = Monitor::run_hook(&node, "open_session");
        assert_eq!(monitor.output(), "exit 0\n");
        assert!(monitor.is_connected());
        assert_eq!(unmanaged::list(&node.runtime_dir()).unwrap(), [monitor.cookie]);
        assert!(node.logged().contains("let in unmanaged (the node does not enforce)"));
    }
}

#[test]
fn a_break_glass_key_gets_in_with_the_agent_dead_hung_or_denying() {
    let deny = Reply::Deny { message: "no".into() };
    for agent in [None, Some(Agent::Hung), Some(Agent::Replies(deny))] {
        let node = Node::in_mode(Mode::Enforce);
        fs::write(node.break_glass(), "ssh-ed25519 AAAAkey= ops\n").unwrap();
        let requests = agent.map(|agent| agent.serve(&node.socket(PAM_SOCKET)));
        let mut monitor = Monitor::run_hook(&node, "open_session");
        assert_eq!(monitor.output(), "exit 0\n");
        assert!(monitor.is_connected());
        assert_eq!(unmanaged::list(&node.runtime_dir()).unwrap(), [monitor.cookie]);
        assert!(node.logged().contains("break-glass key, let in whatever the agent says"));
        if let Some(requests) = requests {
            let expected = Open { cookie: Some(monitor.cookie), break_glass: true, ..open() };
            assert_eq!(requests.recv().unwrap(), Request::Open(expected));
        }
    }
}

#[test]
fn a_break_glass_login_that_the_agent_records_has_no_mark() {
    let node = Node::in_mode(Mode::Enforce);
    fs::write(node.break_glass(), "ssh-ed25519 AAAAkey=\n").unwrap();
    let _requests = Agent::Replies(Reply::Allow { message: None }).serve(&node.socket(PAM_SOCKET));
    assert_eq!(Monitor::run_hook(&node, "open_session").output(), "exit 0\n");
    assert_eq!(unmanaged::list(&node.runtime_dir()).unwrap(), []);
}

#[test]
fn a_break_glass_file_that_others_could_have_written_lets_nobody_in() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::in_mode(Mode::Enforce);
    fs::write(node.break_glass(), "ssh-ed25519 AAAAkey=\n").unwrap();
    fs::set_permissions(node.break_glass(), fs::Permissions::from_mode(0o666)).unwrap();
    let mut monitor = Monitor::run_hook(&node, "open_session");
    assert!(monitor.output().ends_with("exit 1\n"));
    assert!(node.logged().contains("do not count: not root's, or writable by group or others"));
}

#[test]
fn only_the_opening_of_sessions_is_its_business() {
    for (pam_type, exit) in [("close_session", 0), ("account", 0), ("auth", 1), ("password", 1), ("", 1)] {
        let node = Node::in_mode(Mode::Off);
        let output = node.run(&["pam"], &[("PAM_TYPE", pam_type), ("PAM_USER", "alice")]);
        assert_eq!(output.status.code(), Some(exit), "{pam_type}");
    }
}
