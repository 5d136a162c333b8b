//! Carries bytes both ways between two sockets, through pipes of the kernel's: none of them comes to user space.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::time::{Duration, Instant};

/// How much is taken at once, in bytes, if the pipe has room; the kernel gives a user's pipes less if they have many (pipe(7)).
const AT_ONCE: usize = 256 << 10;
/// How often one direction is gone on with before it is the other's turn.
const TURN: usize = 32;

/// After so many bytes in a turn it rests so long: who sends that much would wake it for every few packets of theirs, which costs
/// them more than to carry all of it costs us.
const PLENTY: usize = 16 << 10;
const REST: Duration = Duration::from_micros(150);

/// How long is waited once one of the two has ended. Nobody waits longer for who does not read, or does not hang up.
pub(super) struct Patience {
    /// For what is left to be taken.
    pub(super) with_rest: Duration,
    /// For the client to hang up, once the server has and its client has been given everything: what comes from there now is for
    /// nobody.
    pub(super) after_all: Duration,
}

/// Carries between a client and a server until both have ended, or one fails, or that takes too long. The sockets must not block.
pub(super) fn carry(client: &impl AsFd, server: &impl AsFd, patience: &Patience) -> io::Result<()> {
    let (client, server) = (client.as_fd(), server.as_fd());
    let mut ways = [Way::new(client, server), Way::new(server, client)];
    let (mut ended, mut given) = (None, None);
    while !ways.iter().all(|way| way.is_over) {
        let now = Instant::now();
        if ways.iter().any(|way| way.has_ended) {
            ended.get_or_insert(now + patience.with_rest);
        }
        if ways[1].is_over {
            given.get_or_insert(now + patience.after_all);
        }
        let until = given.into_iter().chain(ended).min();
        let left = until.map(|at: Instant| at.saturating_duration_since(now));
        if left == Some(Duration::ZERO) {
            break;
        }
        wait(&mut ways, left)?;
        let mut moved = 0;
        for way in &mut ways {
            moved += way.go_on()?;
        }
        if moved >= PLENTY {
            std::thread::sleep(REST);
        }
    }
    Ok(())
}

/// Waits until one of them can go on, so long at most.
fn wait(ways: &mut [Way<'_>; 2], most: Option<Duration>) -> io::Result<()> {
    let most =
        most.map(|most| Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() });
    let mut sources: Vec<(usize, PollFd<'_>)> = Vec::with_capacity(4);
    for (number, way) in ways.iter().enumerate() {
        sources.extend(way.awaited().into_iter().flatten().map(|it| (number, it)));
    }
    let (numbers, mut polled): (Vec<usize>, Vec<PollFd<'_>>) = sources.into_iter().unzip();
    match poll(&mut polled, most.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut has_ended = [false; 2];
    for (number, socket) in numbers.into_iter().zip(&polled) {
        // SSH knows no urgent data; behind it a pipe gets nothing, though there is something.
        if socket.revents().contains(PollFlags::PRI) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        has_ended[number] |= socket.revents().intersects(ended);
    }
    drop(polled);
    for (way, has_ended) in ways.iter_mut().zip(has_ended) {
        way.has_ended |= has_ended;
    }
    Ok(())
}

/// One direction.
struct Way<'s> {
    from: BorrowedFd<'s>,
    to: BorrowedFd<'s>,
    /// While there is something to carry: most connections are idle most of the time.
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
    /// Its source or its end is known to have ended.
    has_ended: bool,
    /// Its source has ended, and its end has been given everything, and been told so.
    is_over: bool,
}

struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    is_wide: bool,
}

impl<'s> Way<'s> {
    const fn new(from: BorrowedFd<'s>, to: BorrowedFd<'s>) -> Self {
        Self { from, to, pipe: None, held: 0, has_ended: false, is_over: false }
    }

    /// What it waits for: something to take, or room for what it holds, and then also its source's end, once. If it is over, for
    /// nothing: what is told in any case, that a socket has ended, would be told without end.
    fn awaited(&self) -> [Option<PollFd<'s>>; 2] {
        match (self.is_over, self.held) {
            (true, _) => [None, None],
            (false, 0) => [Some(PollFd::from_borrowed_fd(self.from, PollFlags::IN | PollFlags::PRI)), None],
            (false, _) => {
                let end = PollFd::from_borrowed_fd(self.from, PollFlags::RDHUP | PollFlags::PRI);
                [Some(PollFd::from_borrowed_fd(self.to, PollFlags::OUT)), (!self.has_ended).then_some(end)]
            }
        }
    }

    /// Takes and gives what there is, for a while; how many bytes it gave.
    fn go_on(&mut self) -> io::Result<usize> {
        let mut all = 0;
        for _ in 0..TURN {
            match self.step()? {
                Some(given) => all += given,
                None => break,
            }
        }
        if all >= PLENTY {
            self.pipe.as_mut().map(Pipe::widen);
        } else if self.held == 0 {
            self.pipe = None;
        }
        Ok(all)
    }

    /// Takes something, or gives of what it has taken: how much it gave; none if that must wait.
    fn step(&mut self) -> io::Result<Option<usize>> {
        if self.is_over {
            return Ok(None);
        }
        let pipe = match &self.pipe {
            Some(pipe) => pipe,
            None => self.pipe.insert(Pipe::open()?),
        };
        if self.held > 0 {
            let given = moved(pipe.exit.as_fd(), self.to, self.held)?;
            self.held -= given.unwrap_or(0);
            return Ok(given);
        }
        match moved(self.from, pipe.entry.as_fd(), AT_ONCE)? {
            None => return Ok(None),
            Some(0) => {
                (self.has_ended, self.is_over) = (true, true);
                // It may have ended meanwhile.
                let _ended = shutdown(self.to, Shutdown::Write);
            }
            Some(taken) => self.held = taken,
        }
        Ok(Some(0))
    }
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { exit, entry, is_wide: false })
    }

    /// Gives it room for much, if its user may have that.
    fn widen(&mut self) {
        if !self.is_wide {
            let _may_not = fcntl_setpipe_size(&self.entry, AT_ONCE);
            self.is_wide = true;
        }
    }
}

/// Moves bytes; none if that must wait.
fn moved(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<Option<usize>> {
    loop {
        return match splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(moved) => Ok(Some(moved)),
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::time::{ClockId, clock_gettime};
    use socket2::{Domain, SockRef, Socket, Type};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    const LONG: Duration = Duration::from_secs(60);

    const fn patience(with_rest: Duration) -> Patience {
        Patience { with_rest, after_all: LONG }
    }

    /// A connection over loopback, that holds so few bytes: who has opened it, and who has accepted it.
    fn connection(room: usize) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let opened = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        opened.set_recv_buffer_size(room).unwrap();
        opened.connect(&listener.local_addr().unwrap().into()).unwrap();
        let accepted = listener.accept().unwrap().0;
        SockRef::from(&accepted).set_send_buffer_size(room).unwrap();
        (opened.into(), accepted)
    }

    /// A user and sshd, and what carries between them: how it ended, and how much of a processor that took.
    fn relayed(patience: Patience) -> (TcpStream, TcpStream, JoinHandle<(io::Result<()>, Duration)>) {
        let ((user, outer), (inner, sshd)) = (connection(4_096), connection(1 << 20));
        let carried = std::thread::spawn(move || {
            outer.set_nonblocking(true).unwrap();
            inner.set_nonblocking(true).unwrap();
            let ended = carry(&outer, &inner, &patience);
            let spent = clock_gettime(ClockId::ThreadCPUTime);
            (ended, Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32))
        });
        (user, sshd, carried)
    }

    #[test]
    fn all_bytes_come_both_ways_and_each_end_is_told() {
        let (mut user, mut sshd, carried) = relayed(patience(LONG));
        let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        let sent = bytes.clone();
        let mut up = user.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            up.write_all(&sent).unwrap();
            up.shutdown(std::net::Shutdown::Write).unwrap();
        });
        sshd.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        user.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        let mut got = Vec::new();
        sshd.read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{} of {} bytes, or others", got.len(), bytes.len());
        sender.join().unwrap();
        // One direction is over; the other goes on until it ends too.
        sshd.write_all(b"bye").unwrap();
        drop(sshd);
        let mut last = String::new();
        user.read_to_string(&mut last).unwrap();
        assert_eq!(last, "bye");
        assert!(carried.join().unwrap().0.is_ok());
    }

    #[test]
    fn who_does_not_read_is_not_waited_for_without_end_nor_does_the_wait_cost_anything() {
        const LINGER: Duration = Duration::from_secs(2);

        let (user, mut sshd, carried) = relayed(patience(LINGER));
        // More than the way to the user holds, and not so much that sshd's end would be stuck behind it.
        sshd.write_all(&[0; 100_000]).unwrap();
        user.shutdown(std::net::Shutdown::Write).unwrap();
        let gone = Instant::now();
        drop(sshd);
        let (_ended, spent) = carried.join().unwrap();
        assert!(gone.elapsed() >= LINGER.mul_f32(0.8), "it did not wait: {:?}", gone.elapsed());
        assert!(spent < LINGER / 2, "it was busy for {spent:?}");
    }

    #[test]
    fn an_end_that_is_torn_off_ends_the_other() {
        let (user, sshd, carried) = relayed(patience(LONG));
        // What was sent and not read makes it a reset.
        (&user).write_all(b"unread").unwrap();
        let mut byte = [0];
        (&sshd).read_exact(&mut byte).unwrap();
        drop(sshd);
        let mut rest = Vec::new();
        let _reset = (&user).read_to_end(&mut rest);
        assert!(rest.is_empty());
        drop(user);
        let _any = carried.join().unwrap();
    }

    #[test]
    fn who_does_not_hang_up_after_all_is_said_is_not_waited_for() {
        let after_all = Duration::from_millis(200);
        let (mut user, mut sshd, carried) = relayed(Patience { with_rest: LONG, after_all });
        sshd.write_all(b"bye").unwrap();
        drop(sshd);
        let mut said = String::new();
        user.read_to_string(&mut said).unwrap();
        assert_eq!(said, "bye");
        // The user is still there.
        assert!(carried.join().unwrap().0.is_ok());
    }

    #[test]
    fn urgent_data_ends_it_and_keeps_nobody_busy() {
        let (user, _sshd, carried) = relayed(patience(LONG));
        rustix::net::send(&user, b"!", rustix::net::SendFlags::OOB).unwrap();
        (&user).write_all(b"more").unwrap();
        let (ended, spent) = carried.join().unwrap();
        assert!(ended.is_err() && spent < Duration::from_secs(1), "{ended:?} after {spent:?}");
    }
}
