//! A node of one test: directories, a log, and the hook run in them.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cotter_hook::mode_file::{Mode, ModeFile};
use tempfile::{TempDir, tempdir};

pub(crate) struct Node {
    dir: TempDir,
    log: UnixDatagram,
}

impl Node {
    /// A node without a mode file, which means enforce.
    pub(crate) fn new() -> Self {
        let dir = tempdir().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let log = UnixDatagram::bind(dir.path().join("log")).unwrap();
        log.set_nonblocking(true).unwrap();
        Self { dir, log }
    }

    pub(crate) fn in_mode(mode: Mode) -> Self {
        let node = Self::new();
        let file =
            ModeFile { mode, until: None, login_ports: vec![], login_names: true, principals_files: vec![] };
        file.write(&node.runtime_dir()).unwrap();
        node
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.runtime_dir().join(name)
    }

    pub(crate) fn break_glass(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// The hook's command line, its program first.
    pub(crate) fn command(&self, arguments: &[&str]) -> Vec<String> {
        let place = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let mut line = vec![env!("CARGO_BIN_EXE_cotter-hook").to_owned()];
        line.extend(arguments.iter().map(|&argument| argument.to_owned()));
        for (option, name) in [("--runtime-dir", "run"), ("--state-dir", "state"), ("--log-socket", "log")] {
            line.extend([option.to_owned(), place(name)]);
        }
        line
    }

    /// Runs the hook as sshd would: without an environment to speak of. It must end within its time limit.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let line = self.command(arguments);
        let began = Instant::now();
        let output = Command::new(Path::new(&line[0]))
            .args(&line[1..])
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        // The limit is 2 s; the rest is for a busy machine.
        assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
        output
    }

    /// What the hook has logged so far.
    pub(crate) fn logged(&self) -> String {
        let mut lines = String::new();
        let mut buffer = [0; 2048];
        while let Ok(len) = self.log.recv(&mut buffer) {
            lines.push_str(&String::from_utf8_lossy(&buffer[..len]));
            lines.push('\n');
        }
        lines
    }
}
