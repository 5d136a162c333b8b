//! What is followed, on disk: for the next agent, and for sshd. What the disk does not take is tried again.

use super::{Daemon, lock};

impl Daemon {
    /// Keeps the policy that is followed for the next agent, and the file of CA keys up to date that sshd may be pointed
    /// to. The caller holds `config_change`: what is older must not come after what is newer.
    pub(super) fn keep(&self) {
        let config = self.config();
        if config.authority.is_none() {
            return self.following.kept(Ok(()));
        }
        let policy =
            config.keep_followed().map_err(|error| format!("the policy will not outlive the agent: {error}"));
        let sshd = config.write_user_ca().map_err(|error| format!("sshd is not told of CA keys: {error}"));
        self.following.kept(policy.and(sshd));
    }

    /// The same again, if the disk did not take it.
    pub(super) fn keep_again(&self) {
        if self.following.unkept().is_some() {
            let _one_at_a_time = lock(&self.config_change);
            self.keep();
        }
    }
}
