//! A real sshd on the node.

use std::fmt::Write as _;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Signal, kill_process};

use crate::ca::Ca;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::network::NODE_V4;
use crate::place::Place;
use crate::process::Process;

/// What a node's administrator adds for Cotter; the very files that are packaged.
const COTTER_SSHD: &str = include_str!("../../packaging/sshd/50-cotter.conf");
const COTTER_PAM: &str = include_str!("../../packaging/pam/cotter");
/// What the package brings for `setup sshd` to switch on.
const PAM_PROFILE: &str = include_str!("../../packaging/pam/profile");

const CONFIG: &str = "/etc/ssh/sshd_config";
const LOG: &str = "/var/log/sshd.log";
const PAM: &str = "/etc/pam.d/sshd";

/// How an sshd is set up. Of most keywords the first value wins, so [`SshdSetup::line`] overrules what is built in;
/// [`SshdSetup::last_line`] is for the others.
#[derive(Clone, Debug)]
pub struct SshdSetup {
    lines: String,
    last: String,
    user_ca: String,
    with_cotter: bool,
    hook_behind: Option<String>,
    as_distributed: bool,
    port: u16,
}

impl SshdSetup {
    /// sshd alone: it accepts certificates of `ca` for the principals that they name.
    pub fn plain(ca: &Ca) -> Result<Self> {
        Ok(Self {
            lines: String::new(),
            last: String::new(),
            user_ca: ca.public_key()?,
            with_cotter: false,
            hook_behind: None,
            as_distributed: false,
            port: 22,
        })
    }

    /// sshd with Cotter's snippets for sshd and PAM, for certificates of `ca`.
    pub fn with_cotter(ca: &Ca) -> Result<Self> {
        Ok(Self { with_cotter: true, ..Self::plain(ca)? })
    }

    /// sshd alone, configured as distributions do: snippets come first, users' keys count, PAM's sessions are those of
    /// common-session. The package's profile for PAM is there, and off.
    pub fn as_distributed(ca: &Ca) -> Result<Self> {
        Ok(Self { as_distributed: true, ..Self::plain(ca)? })
    }

    /// Accepts the certificates of one more authority.
    pub fn and(mut self, ca: &Ca) -> Result<Self> {
        self.user_ca.push_str(&ca.public_key()?);
        Ok(self)
    }

    /// Adds a line to sshd's configuration.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }

    /// Adds a line to the end of sshd's configuration, where a `Match` block may stand.
    pub fn last_line(mut self, line: &str) -> Self {
        self.last.push_str(line);
        self.last.push('\n');
        self
    }

    /// Uses the distribution's own PAM file, with the hook's line directly behind the one that begins with this
    /// (words one space apart).
    pub fn distributions_pam(mut self, hook_behind: &str) -> Self {
        self.hook_behind = Some(hook_behind.to_owned());
        self
    }

    /// Listens on another port than 22.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts sshd on the node and waits until it answers.
    pub fn start(&self, lab: &Lab) -> Result<Sshd> {
        let node = lab.node();
        node.write("/etc/cotter/user_ca.pub", &self.user_ca)?;
        node.write(CONFIG, &self.config())?;
        node.write(PAM, &self.pam(node)?)?;
        if self.as_distributed {
            node.write("/usr/share/pam-configs/cotter", PAM_PROFILE)?;
        }
        if self.with_cotter {
            node.write("/etc/ssh/sshd_config.d/50-cotter.conf", COTTER_SSHD)?;
            node.write("/etc/pam.d/cotter", COTTER_PAM)?;
        }
        node.run("sh", &["-c", "[ -e /root/host ] || ssh-keygen -q -t ed25519 -N '' -C lab -f /root/host"])?;
        let mut command = sshd(lab);
        command.args(["-D", "-E", LOG, "-f", CONFIG]).stdin(Stdio::null());
        let mut sshd = Sshd { node: node.clone(), child: node.spawn(&mut command)?, port: self.port };
        sshd.await_banner()?;
        Ok(sshd)
    }

    fn config(&self) -> String {
        let mut config = self.lines.clone();
        let _ = writeln!(config, "Port {}", self.port);
        config.push_str("HostKey /root/host\nLogLevel VERBOSE\nPidFile none\nUseDNS no\nPrintMotd no\n");
        config.push_str("PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 200\n");
        config.push_str("Subsystem sftp internal-sftp\n");
        config.push_str(match (self.as_distributed, self.with_cotter) {
            (true, _) => "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
            (false, true) => "Include /etc/ssh/sshd_config.d/50-cotter.conf\n",
            (false, false) => {
                "TrustedUserCAKeys /etc/cotter/user_ca.pub\nAuthorizedKeysFile none\nUsePAM yes\n"
            }
        });
        config.push_str(&self.last);
        config
    }

    fn pam(&self, node: &Place) -> Result<String> {
        if let Some(line) = &self.hook_behind {
            return with_hook_behind(line, &node.read(PAM)?);
        }
        let mut stack = String::from("auth required pam_deny.so\naccount required pam_permit.so\n");
        if self.as_distributed {
            stack.push_str("@include common-session\nsession required pam_env.so user_readenv=1\n");
            return Ok(stack);
        }
        stack.push_str("session required pam_permit.so\n");
        if self.with_cotter {
            stack.push_str("session include cotter\n");
        }
        Ok(stack)
    }
}

/// A PAM file with the hook's line directly behind the only one that begins with `line`.
fn with_hook_behind(line: &str, stack: &str) -> Result<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found: Vec<_> = stack.lines().filter(|candidate| words(candidate).starts_with(line)).collect();
    let [found] = found[..] else { bail!("{} lines of {PAM} begin with {line:?}", found.len()) };
    Ok(stack.replacen(&format!("{found}\n"), &format!("{found}\nsession include cotter\n"), 1))
}

/// A running sshd; it stops when dropped (its connections go on, as with any sshd).
#[derive(Debug)]
pub struct Sshd {
    node: Place,
    child: Process,
    port: u16,
}

impl Sshd {
    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        self.node.read(LOG)
    }

    /// Has it read its configuration anew, and waits until it answers again.
    pub fn reload(&mut self) -> Result<()> {
        let listened = |log: String| log.matches("Server listening").count();
        let before = listened(self.log()?);
        kill_process(self.child.pid()?, Signal::HUP)?;
        eventually("sshd listens again", || Ok((listened(self.log()?) > before).then_some(())))?;
        self.await_banner()
    }

    fn await_banner(&mut self) -> Result<()> {
        let address = SocketAddr::from((NODE_V4, self.port));
        let node = self.node.clone();
        eventually("a banner of sshd", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("sshd ended with {status}: {}", self.log()?);
            }
            Ok(node.enter(|| banner(address))?.filter(|banner| banner == b"SSH-"))
        })
        .map(drop)
    }
}

/// The first four bytes that whoever listens at `address` says.
fn banner(address: SocketAddr) -> Option<[u8; 4]> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let mut start = [0; 4];
    stream.read_exact(&mut start).ok()?;
    Some(start)
}

/// sshd, in a cgroup of the lab where there is a systemd: nobody in there can move what is outside.
fn sshd(lab: &Lab) -> Command {
    if !lab.has_systemd() {
        return Place::command("/usr/sbin/sshd");
    }
    let mut shell = Place::command("sh");
    let enter = "mkdir -p /sys/fs/cgroup/sshd && echo $$ >/sys/fs/cgroup/sshd/cgroup.procs && exec /usr/sbin/sshd \"$@\"";
    shell.args(["-c", enter, "sshd"]);
    shell
}
