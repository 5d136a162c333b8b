//! Agents of every kind, on a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cotter_hook::protocol::{HEADER_LEN, Header, Reply, Request};

/// What the agent does with a connection once the request is read.
#[derive(Clone)]
pub(crate) enum Agent {
    /// Answers.
    Replies(Reply),
    /// Answers with these bytes, then closes.
    Sends(Vec<u8>),
    /// Reads the request and says nothing.
    Hung,
    /// Sends one byte after the other of a reply that never ends.
    Dribbles,
}

impl Agent {
    /// Serves at `socket`; the requests come out of the receiver.
    pub(crate) fn serve(self, socket: &Path) -> Receiver<Request> {
        let listener = UnixListener::bind(socket).unwrap();
        let (requests, received) = channel();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let request = read_request(&mut stream);
                if requests.send(request).is_err() {
                    return;
                }
                let agent = self.clone();
                thread::spawn(move || agent.answer(stream));
            }
        });
        received
    }

    fn answer(self, mut stream: UnixStream) {
        match self {
            // The hook may have given up by the time the answer is there.
            Self::Replies(reply) => drop(stream.write_all(&reply.encode().unwrap())),
            Self::Sends(bytes) => drop(stream.write_all(&bytes)),
            Self::Hung => drop(stream.read(&mut [0])),
            Self::Dribbles => {
                let long = Reply::Allow { message: Some("x".repeat(60_000)) }.encode().unwrap();
                for byte in long {
                    if stream.write_all(&[byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

fn read_request(stream: &mut UnixStream) -> Request {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).unwrap();
    let header = Header::decode(&header).unwrap();
    let mut body = vec![0; header.body_len];
    stream.read_exact(&mut body).unwrap();
    Request::decode(header, &body).unwrap()
}
