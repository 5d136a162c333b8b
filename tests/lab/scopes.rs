//! Scopes for sessions, without a logind.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lab::{Lab, cgroup2};

impl Lab {
    /// The directory of the cgroup below which the agent finds and makes those of sessions, as the lab sees it.
    pub fn sessions_directory(&self) -> Result<PathBuf> {
        let root = if self.has_systemd() { "/sys/fs/cgroup".into() } else { cgroup2()? };
        Ok(root.join(self.sessions_cgroup()))
    }

    /// Has sshd do for each session what `pam_systemd` does, before it asks the agent: move the monitor to a new scope in a
    /// directory.
    pub fn make_scopes_in(&self, directory: &Path) -> Result<()> {
        let node = self.node();
        let script = format!(
            "#!/bin/sh\n[ \"$PAM_TYPE\" = open_session ] || exit 0\n\
             mkdir {0}/session-$PPID.scope && echo $PPID >{0}/session-$PPID.scope/cgroup.procs\n",
            directory.display()
        );
        node.write("/etc/cotter/scope", &script)?;
        node.run("chmod", &["755", "/etc/cotter/scope"])?;
        let stack = node.read("/etc/pam.d/sshd")?;
        let cotter = "session include cotter";
        let with_scopes =
            stack.replace(cotter, &format!("session required pam_exec.so /etc/cotter/scope\n{cotter}"));
        node.write("/etc/pam.d/sshd", &with_scopes)
    }
}
