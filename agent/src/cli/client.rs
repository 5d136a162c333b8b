//! Calls the agent over its sockets.

use super::exit::Failure;
use super::{Common, Exit, output};
use crate::config::Places;
use crate::daemon::call::{Answer, Call};
use crate::socket::connect_within;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the agent may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection on which one call was made.
pub(super) struct Answers {
    lines: BufReader<UnixStream>,
}

impl Answers {
    /// The next answer; none once the agent has closed the connection.
    pub(super) fn next(&mut self) -> Result<Option<Answer>, Failure> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        match read.map_err(|error| Failure::unavailable(format!("the agent does not answer: {error}")))? {
            0 => Ok(None),
            _ => serde_json::from_str(&line)
                .map(Some)
                .map_err(|error| Failure::unavailable(format!("the agent's answer makes no sense: {error}"))),
        }
    }

    /// From now on answers may be a long time coming.
    pub(super) fn wait_forever(&self) -> Result<(), Failure> {
        self.lines.get_ref().set_read_timeout(None).map_err(Failure::unavailable)
    }
}

/// Makes one call and takes its one answer.
pub(super) fn call(common: &Common, call: &Call) -> Result<Answer, Failure> {
    match open(common, call)?.next()? {
        Some(Answer::NotFound { what }) => Err(Failure::not_found(format!("not found: {what}"))),
        Some(Answer::Refused { why }) => Err(Failure::refused(why)),
        Some(answer) => Ok(answer),
        None => Err(Failure::unavailable("the agent closed the connection without an answer")),
    }
}

/// Prints what was done.
pub(super) fn done(common: &Common, answer: &Answer) -> Result<Exit, Failure> {
    let Answer::Done { text } = answer else { return Err(unexpected(answer)) };
    if common.json {
        output::json(&serde_json::json!({ "done": text }));
    } else {
        output::line(text);
    }
    Ok(Exit::Done)
}

/// The agent gave the answer to another question.
pub(super) fn unexpected(answer: &Answer) -> Failure {
    Failure::unavailable(format!("the agent gave an unexpected answer: {answer:?}"))
}

/// Makes one call.
pub(super) fn open(common: &Common, call: &Call) -> Result<Answers, Failure> {
    let places = Places::of(&common.config);
    let mut stream = connect(&places.runtime_dir, call.only_reads())?;
    let mut line = serde_json::to_vec(call).map_err(Failure::usage)?;
    line.push(b'\n');
    let asked = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(&line));
    asked.map_err(|error| Failure::unavailable(format!("the agent does not listen: {error}")))?;
    Ok(Answers { lines: BufReader::new(stream) })
}

/// The admin socket, or the read socket where that is enough and all that is allowed.
fn connect(runtime_dir: &Path, only_reads: bool) -> Result<UnixStream, Failure> {
    let (admin, read) = (runtime_dir.join("admin.sock"), runtime_dir.join("read.sock"));
    let stream = connect_within(&admin, PATIENCE).or_else(|error| {
        // Who hangs on one socket hangs on the other.
        let hangs = error.kind() == ErrorKind::TimedOut;
        if only_reads && !hangs { connect_within(&read, PATIENCE) } else { Err(error) }
    });
    stream.map_err(|error| {
        let forbidden = error.kind() == ErrorKind::PermissionDenied;
        let advice = match (forbidden, only_reads) {
            (true, true) => "run as root or in the agent's read_group",
            (true, false) => "run as root",
            (false, _) => "is it running? (systemctl status cotter-agent)",
        };
        Failure::unavailable(format!("the agent cannot be reached at {}: {error}; {advice}", admin.display()))
    })
}
