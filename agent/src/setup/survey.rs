//! What sshd goes by without Cotter, and what of it stands in the way.

use std::path::Path;

use super::connection::Connection;
use super::sshd::Effective;
use super::sshd_config::{self, Line};
use super::{Error, Options, snippet, sshd};
use crate::config::Config;

/// What was found, and what follows from it.
#[derive(Debug)]
pub(super) struct Survey {
    /// Connections to ask about: an ordinary one, and one for each `Match` block.
    pub(super) connections: Vec<Connection>,
    /// `AuthorizedKeysFile` as it is; empty for none.
    pub(super) keys_files: String,
    /// The file of authorities' keys that sshd is to be told of, if it knows none.
    pub(super) user_ca: Option<String>,
    /// `AuthorizedPrincipalsFile` as it is, if the agent does not look there yet.
    pub(super) principals_file: Option<String>,
    /// What the administrator should know.
    pub(super) notes: Vec<String>,
}

impl Survey {
    /// Looks around; all that stands in the way is one error.
    pub(super) fn of(config: &Config, options: &Options) -> Result<Self, Error> {
        let (main, ours) = (Path::new(sshd::CONFIG), Path::new(snippet::SSHD));
        let lines = sshd_config::read(main, ours)?;
        let port = config.login_ports.first().map_or_else(|| "22".to_owned(), u16::to_string);
        let text = sshd_config::spelt_out(main, ours)?;
        let effective = Effective::of_text(&text, &Connection::ordinary(&port))?;
        let mut notes = Vec::new();
        let connections = connections(&lines, &port, &mut notes);
        let mut problems: Vec<String> =
            lines.iter().filter_map(|line| in_the_way(line, &effective)).collect();
        problems.extend(settings_in_the_way(&effective));
        let user_ca = match (effective.value("trustedusercakeys"), user_ca(config)) {
            ("none", Ok(file)) => Some(file),
            ("none", Err(problem)) => {
                problems.push(problem);
                None
            }
            (_known, _) => None,
        };
        if !problems.is_empty() {
            return Err(Error::Stop(problems.join("\n")));
        }
        notes.extend(advice(&lines, config, options));
        let named = |value: &str| Some(value.to_owned()).filter(|value| !value.eq_ignore_ascii_case("none"));
        let keys_files =
            if options.keys_only_break_glass { None } else { named(effective.value("authorizedkeysfile")) };
        Ok(Self {
            connections,
            keys_files: keys_files.unwrap_or_default(),
            user_ca,
            principals_file: named(effective.value("authorizedprincipalsfile")),
            notes,
        })
    }
}

/// The connections to ask about: an ordinary one, then one for each `Match` block whose criteria can be met; the others
/// are noted.
pub(crate) fn connections(lines: &[Line], port: &str, notes: &mut Vec<String>) -> Vec<Connection> {
    let mut connections = vec![Connection::ordinary(port)];
    for line in lines.iter().filter(|line| line.keyword == "match") {
        match Connection::of_block(&line.value, port) {
            Some(connection) => connections.push(connection),
            None => notes.push(format!(
                "{}: whom `Match {}` means cannot be told, so it is not checked",
                line.place(),
                line.value
            )),
        }
    }
    connections
}

/// Why a line of sshd's configuration and Cotter cannot be together.
fn in_the_way(line: &Line, effective: &Effective) -> Option<String> {
    let place = line.place();
    match line.keyword.as_str() {
        "authorizedprincipalscommand" if !line.is_none() => Some(format!(
            "{place}: sshd asks another AuthorizedPrincipalsCommand already, and it takes only one: {}",
            line.value
        )),
        "authorizedprincipalsfile"
            if line.block.is_some() && line.value != effective.value("authorizedprincipalsfile") =>
        {
            Some(format!(
                "{place}: a Match block has an AuthorizedPrincipalsFile of its own, and principals_file of agent.toml \
                 knows no Match blocks; use one file for all, %u is the account"
            ))
        }
        _others => None,
    }
}

/// Settings without which the hooks do not run.
fn settings_in_the_way(effective: &Effective) -> Vec<String> {
    let mut problems = Vec::new();
    let principals = effective.value("authorizedprincipalsfile");
    if principals != "none" && (!principals.starts_with('/') || principals.contains("%h")) {
        problems.push(format!(
            "AuthorizedPrincipalsFile {principals} lies in users' homes, where the agent does not look: who writes it says \
             whom an account is for; use one such as /etc/ssh/auth_principals/%u"
        ));
    }
    if effective.value("usepam") != "yes" {
        problems.push(
            "sshd has UsePAM no, and the session hook is run by PAM; set UsePAM yes, and mind that with \
             KbdInteractiveAuthentication PAM may ask for passwords"
                .to_owned(),
        );
    }
    if !matches!(effective.value("pamservicename"), "none" | "sshd") {
        problems.push(format!(
            "sshd has PAMServiceName {}; the session hook is for sshd",
            effective.value("pamservicename")
        ));
    }
    if effective.value("pubkeyauthentication") != "yes" {
        problems.push("sshd has PubkeyAuthentication no: nobody can log in with a certificate".to_owned());
    }
    problems
}

/// The file that names all authorities, for sshd.
fn user_ca(config: &Config) -> Result<String, String> {
    let mut files: Vec<String> = config.user_ca_files.iter().map(|file| file.display().to_string()).collect();
    files.sort();
    files.dedup();
    match files.as_slice() {
        [] => Err("agent.toml names no [[cluster]]: say first whose certificates are accepted".to_owned()),
        [file] => Ok(file.clone()),
        several => Err(format!(
            "sshd takes one TrustedUserCAKeys, and the clusters have {}: put all keys into one file too, and name that \
             as TrustedUserCAKeys",
            several.join(", ")
        )),
    }
}

/// What does not stand in the way, but should be known.
fn advice(lines: &[Line], config: &Config, options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    for line in lines {
        match line.keyword.as_str() {
            "port" if !config.login_ports.iter().any(|port| port.to_string() == line.value) => {
                notes.push(format!(
                    "{}: sshd listens on port {}, which login_ports lacks",
                    line.place(),
                    line.value
                ));
            }
            "authorizedkeysfile" if line.block.is_some() => notes.push(format!(
                "{}: this Match block has keys of its own, so break-glass keys do not get in there",
                line.place()
            )),
            _others => {}
        }
    }
    if options.keys_only_break_glass {
        notes.push(
            "users' own authorized_keys count no more: certificates and break-glass keys alone get in"
                .to_owned(),
        );
    } else {
        notes.push(
            "users' own authorized_keys go on to count, unpinned; other_logins = \"deny\" in agent.toml or \
             --keys-only-break-glass ends that"
                .to_owned(),
        );
    }
    notes
}
