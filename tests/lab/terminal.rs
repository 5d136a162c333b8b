//! A terminal with a program on it, as a person sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::eventually::eventually;
use crate::place::Place;
use crate::process::Process;

const ROWS: NonZero<u16> = NonZero::new(24).expect("more than none");
const COLUMNS: NonZero<u16> = NonZero::new(80).expect("more than none");

/// A pseudo-terminal of 80 by 24, and the program that runs on it.
pub struct Terminal {
    /// What the program's writes come out of, and what keys go into.
    keyboard: File,
    /// The program's end, held open to see what it leaves behind.
    tty: File,
    screen: vt100::Parser,
    before: String,
    child: Process,
}

impl Terminal {
    /// Starts `cotter-agent` in some place on a terminal of its own.
    pub fn agent(place: &Place, arguments: &[&str]) -> Result<Self> {
        let mut agent = Place::command("cotter-agent");
        Self::start(place, agent.args(arguments))
    }

    /// Starts a program in some place on a terminal of its own.
    pub fn start(place: &Place, program: &Command) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let tty = File::from(ioctl_tiocgptpeer(&keyboard, flags)?);
        tcsetwinsize(
            &tty,
            Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 },
        )?;
        fcntl_setfl(&keyboard, OFlags::NONBLOCK)?;
        let before = attributes(&tty)?;
        // Makes it the controlling terminal, as a login does; and signals mean there what they mean by themselves, whatever
        // the test was started to ignore.
        let mut command: Command = Place::command("setsid");
        command
            .args(["--ctty", "env", "--default-signal"])
            .arg(program.get_program())
            .args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm-256color");
        command.stdin(tty.try_clone()?).stdout(tty.try_clone()?).stderr(tty.try_clone()?);
        let child = place.spawn(&mut command)?;
        Ok(Self {
            keyboard: keyboard.into(),
            tty,
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            before,
            child,
        })
    }

    /// Waits until the screen shows what `fits`; all that it shows.
    pub fn shows(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        let mut shown = String::new();
        let seen = eventually(what, || {
            self.catch_up()?;
            shown = self.screen.screen().contents();
            Ok(fits(&shown).then_some(()))
        });
        seen.with_context(|| shown.clone()).map(|()| shown)
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.child.pid()?, signal)?)
    }

    /// Waits until the program has ended.
    pub fn end(&mut self) -> Result<ExitStatus> {
        let status = eventually("the program ends", || {
            self.catch_up()?;
            Ok(self.child.try_wait()?)
        })?;
        self.catch_up()?;
        Ok(status)
    }

    /// Whether the program has taken the whole screen, hidden the cursor, or changed what keys do.
    pub fn is_taken(&mut self) -> Result<bool> {
        self.catch_up()?;
        let screen = self.screen.screen();
        Ok(screen.alternate_screen() || screen.hide_cursor() || attributes(&self.tty)? != self.before)
    }

    /// Whether anything on the screen has a colour.
    pub fn has_colours(&self) -> bool {
        let screen = self.screen.screen();
        let mut cells = (0..ROWS.get()).flat_map(|row| (0..COLUMNS.get()).map(move |column| (row, column)));
        cells.any(|(row, column)| {
            screen.cell(row, column).is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Takes in what was written so far.
    fn catch_up(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.keyboard.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => self.screen.process(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => bail!("the terminal cannot be read: {error}"),
            }
        }
    }
}

/// What `stty -g` shows.
fn attributes(tty: &File) -> Result<String> {
    Ok(format!("{:?}", tcgetattr(tty)?))
}
