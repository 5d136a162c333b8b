//! A connection of a trusted relay's: either a session's there, on its way to sshd, or one by which the relay's agent says
//! something of such a connection.

use super::agent::ask;
use super::call::{Answer, Call, Leg};
use super::connection::{ConnectionError, Order, Way, go_on, leg};
use cotter_vouch as vouch;
use pinning::How;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the first byte may take. Agents send theirs at once, as nearly all of SSH's clients do; some listen first.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// How long a statement may take to come in all, once it has begun.
const STATEMENT: Duration = Duration::from_secs(2);
/// How long the agent may take to know whose a connection is: it waits for the statement for a while.
const ANSWER: Duration = Duration::from_secs(5);
/// What a statement's line begins with, and no client of SSH (RFC 4253, 4.2).
const BEGINNING: u8 = b'{';

/// Serves one of either kind.
pub(super) fn serve(outer: TcpStream, order: &Order) -> Result<(), ConnectionError> {
    let ends = leg(&outer)?;
    if first_byte(&outer)? == Some(BEGINNING) { hear(&outer, ends, order) } else { lead(outer, ends, order) }
}

/// The first byte, which stays where it is; nothing if none comes.
fn first_byte(outer: &TcpStream) -> io::Result<Option<u8>> {
    outer.set_read_timeout(Some(FIRST_BYTE))?;
    let mut byte = [0];
    match outer.peek(&mut byte) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(byte[0])),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Hands a statement to the agent, and its answer back.
fn hear(mut outer: &TcpStream, by: Leg, order: &Order) -> Result<(), ConnectionError> {
    let line = line(outer, STATEMENT)?;
    let answer = match ask(&Call::Said { by, line }, None, &order.runtime_dir, ANSWER) {
        Ok((_heard, Answer::Say(answer))) => answer,
        Ok((_heard, Answer::Stay(why))) => vouch::Answer::Refused(why),
        Ok((_heard, Answer::Go | Answer::Of(_))) => {
            vouch::Answer::Refused("the node answers something else".to_owned())
        }
        Err(error) => vouch::Answer::Refused(format!("the node's agent does not answer: {error}")),
    };
    let mut answer = serde_json::to_vec(&answer).map_err(io::Error::from)?;
    answer.push(b'\n');
    outer.write_all(&answer)?;
    Ok(())
}

/// A line, which comes so soon, and is no longer than a statement by more than one read.
fn line(mut outer: &TcpStream, patience: Duration) -> io::Result<String> {
    let (end, mut line) = (Instant::now() + patience, Vec::new());
    let mut bytes = [0; 1024];
    while line.len() <= vouch::LONGEST {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        outer.set_read_timeout(Some(left))?;
        let read = outer.read(&mut bytes)?;
        let come = &bytes[..read];
        let length = come.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&come[..length.unwrap_or(read)]);
        if read == 0 || length.is_some() {
            break;
        }
    }
    String::from_utf8(line).map_err(|_no_text| io::ErrorKind::InvalidData.into())
}

/// Leads a session's connection to sshd, from where its user is. Without the node's agent from where the relay is: no certificate
/// gets in then, and a break-glass key does.
fn lead(outer: TcpStream, ends: Leg, order: &Order) -> Result<(), ConnectionError> {
    let (address, how, via) = match ask(&Call::Whose(ends), None, &order.runtime_dir, ANSWER) {
        Ok((_heard, Answer::Of(user))) => (user.address, user.how, Some(user.via)),
        Ok((_heard, Answer::Stay(why))) => return Err(ConnectionError::Unvouched(why)),
        Ok((_, Answer::Go | Answer::Say(_))) | Err(_) => (ends.peer.ip(), How::Direct, None),
    };
    go_on(outer, Way { user: (address, 0).into(), how, via }, order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let opened = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (opened, listener.accept().unwrap().0)
    }

    #[test]
    fn a_line_comes_in_pieces_and_what_is_behind_it_does_not_matter() {
        let (mut bastion, node) = connection();
        bastion.write_all(b"{\"a\":").unwrap();
        let rest = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            bastion.write_all(b" 1}\nmore").unwrap();
            bastion
        });
        assert_eq!(line(&node, Duration::from_secs(60)).unwrap(), "{\"a\": 1}");
        rest.join().unwrap();
    }

    #[test]
    fn who_sends_byte_by_byte_or_without_end_is_not_waited_for() {
        let (mut bastion, node) = connection();
        let drips = std::thread::spawn(move || {
            while bastion.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(line(&node, Duration::from_millis(300)).is_err());
        drop(node);
        drips.join().unwrap();
        let (mut bastion, node) = connection();
        bastion.write_all(&[b' '; 3 * vouch::LONGEST]).unwrap();
        let long = line(&node, Duration::from_secs(60)).unwrap();
        assert!(long.len() > vouch::LONGEST && long.len() <= vouch::LONGEST + 1024);
    }
}
