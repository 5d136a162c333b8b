//! sshd's configuration as it is in force for all logins and for each `Match` block: whether it asks Cotter, and what
//! it lets in without asking.

use std::path::Path;

use super::{Finding, Node, PATIENCE};
use crate::command;
use crate::setup::connection::Connection;
use crate::setup::sshd::{CONFIG, Effective};
use crate::setup::{Error, snippet, sshd_config, survey};

/// What sshd goes by.
pub(super) struct Sshd {
    ordinary: Effective,
    /// The blocks by their criteria.
    blocks: Vec<(String, Effective)>,
    /// Blocks of which it cannot be told whom they mean.
    unclear: Vec<String>,
}

impl Sshd {
    /// Has sshd say it, for connections to a port.
    pub(super) fn ask(port: u16) -> Result<Self, Error> {
        let (port, mut unclear) = (port.to_string(), Vec::new());
        let lines = sshd_config::read(Path::new(CONFIG), Path::new(""))?;
        let ordinary = Effective::of(&Connection::ordinary(&port))?;
        let connections = survey::connections(&lines, &port, &mut unclear);
        let blocks = connections.iter().filter(|connection| connection.block.is_some());
        let blocks: Result<_, Error> =
            blocks.map(|block| Ok((block.name(), Effective::of(block)?))).collect();
        Ok(Self { ordinary, blocks: blocks?, unclear })
    }

    /// Whether it asks Cotter about ordinary logins.
    pub(super) fn asks(&self) -> bool {
        self.ordinary.value("authorizedprincipalscommand") == snippet::COMMAND
    }

    /// The name that it gives PAM.
    pub(super) fn pam_service(&self) -> &str {
        match self.ordinary.value("pamservicename") {
            "none" => "sshd",
            other => other,
        }
    }

    /// What it goes by for ordinary logins.
    pub(super) fn ordinary(&self) -> &Effective {
        &self.ordinary
    }

    /// Looks at what is in force for all logins, and where one of the keywords differs, for each block; `well` if
    /// nothing is found.
    pub(super) fn look<Found: IntoIterator<Item = Finding>>(
        &self,
        keywords: &[&str],
        well: Finding,
        look: impl Fn(&str, &Effective) -> Found,
    ) -> Vec<Finding> {
        let differs = |block: &&(String, Effective)| {
            keywords.iter().any(|keyword| block.1.value(keyword) != self.ordinary.value(keyword))
        };
        let mut found: Vec<Finding> = look("all logins", &self.ordinary).into_iter().collect();
        found.extend(self.blocks.iter().filter(differs).flat_map(|(name, effective)| look(name, effective)));
        if found.is_empty() { vec![well] } else { found }
    }
}

pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let sshd = match &node.sshd {
        Ok(sshd) => sshd,
        Err(_) if !node.is_open() => return Vec::new(),
        Err(why) => {
            let what = format!("sshd does not say what it goes by: {why}");
            return vec![Finding::error("sshd", what, "sshd -T, as root, must succeed")];
        }
    };
    let unclear = sshd.unclear.iter().map(|what| {
        Finding::warning("sshd-match", what, "look yourself: sshd -T -C user=...,host=...,addr=...")
    });
    let mut findings: Vec<Finding> = unclear.collect();
    findings.extend(sshd.look(
        &["authorizedprincipalscommand", "authorizedprincipalscommanduser"],
        asked(),
        principals_command,
    ));
    if sshd.asks() {
        findings.extend(sshd.look(&["authorizedprincipalsfile"], one_way(), principals_file));
    }
    findings.extend(sshd.look(&["usepam"], Finding::ok("use-pam", "sshd uses PAM"), use_pam));
    findings.extend(sshd.look(
        &["authorizedkeysfile", "authorizedkeyscommand"],
        Finding::ok("authorized-keys", "keys without certificate get in as agent.toml has it"),
        |name, effective| authorized_keys(node, name, effective),
    ));
    findings.extend(sshd.look(
        &["authorizedkeysfile"],
        Finding::ok("break-glass-asked", "sshd looks for break-glass keys"),
        break_glass_asked,
    ));
    findings.extend(grace_time(node, &sshd.ordinary));
    findings
}

fn asked() -> Finding {
    Finding::ok("principals-command", "sshd asks Cotter about certificates")
}

fn principals_command(name: &str, effective: &Effective) -> Option<Finding> {
    const ID: &str = "principals-command";
    const SETUP: &str = "cotter-agent setup sshd";
    let user = effective.value("authorizedprincipalscommanduser");
    match effective.value("authorizedprincipalscommand") {
        "none" => {
            let what =
                format!("{name}: sshd does not ask Cotter about certificates (AuthorizedPrincipalsCommand)");
            Some(Finding::warning(ID, what, SETUP))
        }
        snippet::COMMAND if user == "root" => {
            let what = format!("{name}: sshd runs the hook as root, which strangers can make it do");
            Some(Finding::warning(ID, what, "set AuthorizedPrincipalsCommandUser to _cotter or nobody"))
        }
        snippet::COMMAND if !is_account(user) => {
            let what = format!(
                "{name}: AuthorizedPrincipalsCommandUser {user} is no account: no certificate gets in"
            );
            Some(Finding::error(ID, what, "set it to _cotter or nobody"))
        }
        snippet::COMMAND => None,
        other => {
            let what = format!("{name}: sshd asks another AuthorizedPrincipalsCommand: {other}");
            Some(Finding::error(ID, what, "take it out: sshd asks only one"))
        }
    }
}

fn is_account(user: &str) -> bool {
    command::text(command::program("id").arg("-u").arg("--").arg(user), PATIENCE).is_ok()
}

fn one_way() -> Finding {
    Finding::ok("principals-file", "sshd looks up principals nowhere else")
}

fn principals_file(name: &str, effective: &Effective) -> Option<Finding> {
    let file = effective.value("authorizedprincipalsfile");
    let what =
        format!("{name}: what AuthorizedPrincipalsFile {file} says gets in without the command being asked");
    let remedy = "set AuthorizedPrincipalsFile none in sshd_config, and principals_file in agent.toml";
    (file != "none").then(|| Finding::warning("principals-file", what, remedy))
}

fn use_pam(name: &str, effective: &Effective) -> Option<Finding> {
    let what = format!("{name}: UsePAM no: the session hook is not run, and logins become no sessions");
    (effective.value("usepam") != "yes").then(|| Finding::error("use-pam", what, "set UsePAM yes"))
}

/// Keys beside the break-glass file are a way in without a pin. That they count, or do not, is for agent.toml to say.
fn authorized_keys(node: &Node, name: &str, effective: &Effective) -> Option<Finding> {
    let files = effective.value("authorizedkeysfile").split_whitespace();
    let mut places: Vec<&str> =
        files.filter(|file| *file != snippet::BREAK_GLASS && *file != "none").collect();
    if effective.value("authorizedkeyscommand") != "none" {
        places.push("AuthorizedKeysCommand");
    }
    let said = node.config.as_ref().ok().and_then(|config| config.other_logins_said);
    if places.is_empty() || said.is_some() {
        return None;
    }
    let what = format!(
        "{name}: keys of {} get in without a certificate, from anywhere: who has logged in once may add one",
        places.join(" ")
    );
    let remedy = "say whether they may in agent.toml, with other_logins = \"deny\" or \"allow\", or call cotter-agent setup \
                  sshd --keys-only-break-glass";
    Some(Finding::warning("authorized-keys", what, remedy))
}

fn break_glass_asked(name: &str, effective: &Effective) -> Option<Finding> {
    let files = effective.value("authorizedkeysfile");
    let what = format!("{name}: sshd looks for keys in {files} alone, so break-glass keys do not get in");
    let remedy = format!("add {} to AuthorizedKeysFile there", snippet::BREAK_GLASS);
    let asked = files.split_whitespace().any(|file| file == snippet::BREAK_GLASS);
    (!asked).then(|| Finding::warning("break-glass-asked", what, remedy))
}

/// Who takes longer to log in than the agent waits for a session is cut.
fn grace_time(node: &Node, effective: &Effective) -> Option<Finding> {
    let ours = node.config.as_ref().ok()?.login_grace_time.as_secs();
    let theirs: u64 = effective.value("logingracetime").parse().ok()?;
    if theirs != 0 && theirs <= ours {
        return Some(Finding::ok("login-grace-time", "the agent waits for logins as long as sshd does"));
    }
    let what =
        format!("sshd waits {theirs} s for a login (0: for ever), and the agent cuts it after {ours} s");
    let remedy = "set login_grace_time in agent.toml to sshd's LoginGraceTime, or that lower";
    Some(Finding::warning("login-grace-time", what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_own_words_are_no_option_of_ids() {
        assert!(is_account("root"));
        assert!(!is_account("none") && !is_account("--help") && !is_account(""));
    }
}
