//! `cotter-hook principals`.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;
use std::thread;

use cotter_hook::mode_file::Mode;
use cotter_hook::protocol::{PRINCIPALS_SOCKET, Reply, Request, VERSION};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::agent::Agent;
use crate::node::Node;

const LOGIN: [&str; 5] = ["principals", "--user", "alice", "--cert", "AAAAcert"];

fn run(node: &Node) -> Output {
    let output = node.run(&LOGIN, &[]);
    assert_eq!(output.status.code(), Some(0), "sshd treats any other status as a broken command");
    assert!(output.stderr.is_empty());
    output
}

/// Without a usable answer the mode decides, whatever kept the agent from answering.
fn falls_back(break_the_agent: impl Fn(&Node) + Sync, trouble: &str) {
    let prints = |node: Node, expected: &str| {
        break_the_agent(&node);
        assert_eq!(String::from_utf8_lossy(&run(&node).stdout), expected);
        let logged = node.logged();
        assert!(logged.contains(trouble) && logged.lines().count() == 1, "{logged}");
    };
    thread::scope(|scope| {
        scope.spawn(|| prints(Node::new(), ""));
        scope.spawn(|| prints(Node::in_mode(Mode::Enforce), ""));
        scope.spawn(|| prints(Node::in_mode(Mode::Audit), "alice\n"));
        scope.spawn(|| prints(Node::in_mode(Mode::Off), "alice\n"));
    });
}

fn answers_with(agent: Agent) -> impl Fn(&Node) {
    move |node| agent.clone().serve_forever(&node.socket(PRINCIPALS_SOCKET))
}

impl Agent {
    /// Serves without anyone looking at the requests.
    fn serve_forever(self, socket: &Path) {
        let requests = self.serve(socket);
        thread::spawn(move || requests.into_iter().for_each(drop));
    }
}

#[test]
fn the_agents_lines_are_printed() {
    let node = Node::new();
    let lines = vec!["alice".to_owned(), "from=\"198.51.111.1\" ops".to_owned()];
    let requests = Agent::Replies(Reply::Principals { lines }).serve(&node.socket(PRINCIPALS_SOCKET));
    assert_eq!(String::from_utf8_lossy(&run(&node).stdout), "alice\nfrom=\"198.51.111.1\" ops\n");
    let (user, certificate) = ("alice".to_owned(), "AAAAcert".to_owned());
    assert_eq!(requests.recv().unwrap(), Request::Principals { user, certificate });
    assert_eq!(node.logged(), "");
}

#[test]
fn no_lines_deny_in_every_mode() {
    for mode in [Mode::Enforce, Mode::Audit, Mode::Off] {
        let node = Node::in_mode(mode);
        answers_with(Agent::Replies(Reply::Principals { lines: vec![] }))(&node);
        assert_eq!(String::from_utf8_lossy(&run(&node).stdout), "");
    }
}

#[test]
fn a_dead_agent_leaves_it_to_the_mode() {
    falls_back(|_| (), "cannot be reached: No such file");
    falls_back(
        |node| drop(UnixListener::bind(node.socket(PRINCIPALS_SOCKET)).unwrap()),
        "Connection refused",
    );
}

#[test]
fn a_hung_agent_leaves_it_to_the_mode() {
    falls_back(answers_with(Agent::Hung), "did not answer in time");
}

#[test]
fn an_agent_too_hung_to_accept_leaves_it_to_the_mode() {
    let node = Node::in_mode(Mode::Audit);
    let address = SocketAddrUnix::new(node.socket(PRINCIPALS_SOCKET)).unwrap();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let new = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let listener = new();
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let queue: Vec<_> = std::iter::repeat_with(new).take_while(|s| connect(s, &address).is_ok()).collect();
    assert!(!queue.is_empty());
    assert_eq!(String::from_utf8_lossy(&run(&node).stdout), "alice\n");
    assert!(node.logged().contains("did not answer in time"));
}

#[test]
fn a_dribbling_agent_gains_no_time() {
    falls_back(answers_with(Agent::Dribbles), "did not answer in time");
}

#[test]
fn an_agent_of_another_time_leaves_it_to_the_mode() {
    let mut far = Reply::Principals { lines: vec!["alice".into()] }.encode().unwrap();
    far[4] = VERSION + 2;
    falls_back(answers_with(Agent::Sends(far)), "message of version 3");
    let mut unknown = Reply::Allow { message: None }.encode().unwrap();
    unknown[5] = 0x99;
    falls_back(answers_with(Agent::Sends(unknown)), "unknown kind 153");
}

#[test]
fn an_agent_one_version_up_is_understood() {
    let node = Node::new();
    let mut next = Reply::Principals { lines: vec!["alice".into()] }.encode().unwrap();
    next[4] = VERSION + 1;
    answers_with(Agent::Sends(next))(&node);
    assert_eq!(String::from_utf8_lossy(&run(&node).stdout), "alice\n");
}

#[test]
fn an_answer_that_is_none_leaves_it_to_the_mode() {
    falls_back(answers_with(Agent::Sends(vec![])), "closed the connection without an answer");
    falls_back(answers_with(Agent::Sends(b"HTTP/1.1 400 Bad Request\r\n".to_vec())), "not a cotter message");
    falls_back(answers_with(Agent::Replies(Reply::Allow { message: None })), "answer is amiss");
    let error = Reply::Error { text: "not for you".into() };
    falls_back(answers_with(Agent::Replies(error)), "not for you");
}

#[test]
fn what_a_stranger_sends_is_bounded_and_harmless() {
    let node = Node::new();
    Agent::Replies(Reply::Allow { message: None }).serve_forever(&node.socket(PRINCIPALS_SOCKET));
    let long = "A".repeat(100_000);
    let output = node.run(&["principals", "--user", "a\n\x1b[31m", "--cert", &long], &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    let logged = node.logged();
    assert!(logged.contains("principals for a\\n\\x1b[31m: message of 10"), "{logged}");
    assert!(logged.len() < 1000, "{logged}");
}

#[test]
fn a_wrong_command_line_is_told_with_status_2() {
    let output = Node::new().run(&["principals", "--user", "alice"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--cert is missing"));
}

#[test]
fn help_and_version_are_printed() {
    let help = Node::new().run(&["--help"], &[]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage:"));
    let version = Node::new().run(&["--version"], &[]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("cotter-hook 0."));
}
