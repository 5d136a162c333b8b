//! Real TCP connections on loopback, found in a child process that holds them, and ended.

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::net::{SocketType, bind, listen, socket, sockopt::set_ipv6_v6only};

use super::*;

/// A process that holds sockets as its standard input and output and waits.
struct Holder(Child);

impl Holder {
    fn of(first: OwnedFd, second: Option<OwnedFd>) -> Self {
        let second = second.map_or_else(Stdio::null, Stdio::from);
        Self(Command::new("/bin/sleep").arg("1000").stdin(first).stdout(second).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The client's and the server's end of a new connection.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn dual_stack_listener() -> TcpListener {
    let listener = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    set_ipv6_v6only(&listener, false).unwrap();
    bind(&listener, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)).unwrap();
    listen(&listener, 4).unwrap();
    TcpListener::from(listener)
}

/// Finds the connection in another process, destroys it, and sees both ends notice.
fn is_found_and_destroyed(mut client: TcpStream, mut server: TcpStream) {
    let holder = Holder::of(server.try_clone().unwrap().into(), None);
    let port = server.local_addr().unwrap().port();
    let connection = Connection::of_process(holder.pid(), &[port]).unwrap();
    assert_eq!(connection.peer, canonical(client.local_addr().unwrap()));
    assert_eq!(connection.local, canonical(client.peer_addr().unwrap()));
    assert_eq!(connection.cookie, sockopt::socket_cookie(&server).unwrap());
    assert_eq!(connection.destroy().unwrap(), Ended::Destroyed);

    assert!(client.read(&mut [0]).is_err(), "the client is told with a reset");
    assert!(server.read(&mut [0]).is_err(), "the holder's own socket is ended");
    assert_eq!(connection.destroy().unwrap(), Ended::Gone);
}

#[test]
fn an_ipv4_connection_is_found_and_destroyed() {
    let (client, server) = connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    is_found_and_destroyed(client, server);
}

#[test]
fn an_ipv6_connection_is_found_and_destroyed() {
    let (client, server) = connect(&TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap());
    is_found_and_destroyed(client, server);
}

#[test]
fn an_ipv4_connection_of_a_dual_stack_listener_is_ipv4() {
    let listener = dual_stack_listener();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert!(peer.is_ipv6(), "the kernel names the peer as mapped");
    is_found_and_destroyed(client, server);
}

#[test]
fn a_connection_that_the_process_opened_itself_does_not_confuse() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (client, server) = connect(&listener);
    let (outgoing, _directory) = connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let holder = Holder::of(server.into(), Some(outgoing.into()));

    let login_port = listener.local_addr().unwrap().port();
    let found = Connection::of_process(holder.pid(), &[login_port]).unwrap();
    assert_eq!(found.peer, client.local_addr().unwrap());

    let unclear = Connection::of_process(holder.pid(), &[]);
    assert!(matches!(unclear, Err(ConnectionError::NotOne { found: 0, .. })), "{unclear:?}");
    assert_eq!(Connection::with_cookie(holder.pid(), found.cookie).unwrap().inode, found.inode);
}

#[test]
fn one_socket_under_two_descriptors_is_one_connection() {
    let (_client, server) = connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let holder = Holder::of(server.try_clone().unwrap().into(), Some(server.into()));
    assert!(Connection::of_process(holder.pid(), &[]).is_ok());
}

#[test]
fn a_listener_is_no_connection() {
    let holder = Holder::of(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(), None);
    let none = Connection::of_process(holder.pid(), &[]);
    assert!(matches!(none, Err(ConnectionError::NotOne { found: 0, .. })), "{none:?}");
}

#[test]
fn a_wrong_cookie_destroys_nothing() {
    let (client, server) = connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let (local, peer) = (server.local_addr().unwrap(), client.local_addr().unwrap());
    let cookie = sockopt::socket_cookie(&server).unwrap();
    assert_eq!(destroy_flow(local, peer, cookie + 1).unwrap(), Ended::Gone);
    assert!(net::getpeername(&server).is_ok(), "still connected");
    assert_eq!(destroy_flow(local, peer, cookie).unwrap(), Ended::Destroyed);
}

#[test]
fn where_the_kernel_cannot_destroy_the_connection_is_shut_down() {
    let (mut client, server) = connect(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let holder = Holder::of(server.into(), None);
    let connection = Connection::of_process(holder.pid(), &[]).unwrap();
    assert_eq!(connection.shut_down().unwrap(), Ended::ShutDown);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client reads the end");
}

#[test]
fn a_process_in_another_network_namespace_is_refused() {
    let mut child = Command::new("/usr/bin/unshare")
        .args(["--net", "/bin/sh", "-c", "echo; read wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let refused = Connection::of_process(Pid::from_child(&child), &[]);
    assert!(matches!(refused, Err(ConnectionError::OtherNetwork { .. })), "{refused:?}");
    drop(child.stdin.take());
    child.wait().unwrap();
}
