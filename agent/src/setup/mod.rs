//! Putting Cotter between sshd and PAM, and taking it out: nobody is locked out on the way, and whatever fails or is
//! killed in between is put back.

pub(crate) mod connection;
mod diff;
mod journal;
mod pam;
pub(crate) mod pam_order;
mod pam_stack;
mod proof;
pub(crate) mod snippet;
pub(crate) mod sshd;
pub(crate) mod sshd_config;
pub(crate) mod survey;

use std::path::{Path, PathBuf};
use std::{fs, io};

use cotter_hook::fallback::Fallback;

use self::connection::Connection;
use self::diff::Change;
use self::journal::Desk;
use self::pam_order::Order;
use self::snippet::Snippet;
use self::sshd::Effective;
use self::survey::Survey;
use crate::config::{self, Config, ConfigError, Places};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's configuration.
    pub config: PathBuf,
    /// Look, say what would change, and change nothing.
    pub dry_run: bool,
    /// Of keys without certificate only the break-glass ones are to get in.
    pub keys_only_break_glass: bool,
    /// The account that a break-glass key is tried with; none for one that is likely to let it in.
    pub account: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// What has changed, or would, as a unified diff.
    pub diff: String,
    /// What an administrator should know.
    pub notes: Vec<String>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something stands in the way; a line for each.
    #[error("{0}")]
    Stop(String),
    /// The agent's configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A program did not do what it should.
    #[error("{program}: {what}")]
    Program {
        /// Which program.
        program: &'static str,
        /// What it said.
        what: String,
    },
    /// No account let a break-glass key in.
    #[error("a break-glass key would not get in, so all is as before; what was tried:\n{refusals}")]
    NoBreakGlass {
        /// By account, what ssh and sshd said.
        refusals: String,
    },
    /// A file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Switches Cotter on in sshd and PAM. Fails with everything as it was.
pub fn set_up(options: &Options) -> Result<Report, Error> {
    let config = config::load_trusted(&options.config)?;
    let desk = begin(&config.state_dir, options.dry_run)?;
    let survey = Survey::of(&config, options)?;
    let files = files(options, &config, &survey)?;
    let common =
        Change::to(Path::new(pam::COMMON), Some(pam::with_hook(&fs::read_to_string(pam::COMMON)?)?))?;
    let changes: Vec<Change> = files.into_iter().flatten().collect();
    let mut report = Report {
        diff: changes.iter().chain(&common).map(Change::diff).collect(),
        notes: survey.notes.clone(),
    };
    let Some(desk) = desk else { return Ok(report) };
    if report.diff.is_empty() {
        report.notes.push("nothing to do: sshd and PAM are set up".to_owned());
        return Ok(report);
    }
    check_mode(&config)?;
    let before: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).chain(pam::files()).collect();
    let journal = desk.begin(&[before, vec![snippet::BREAK_GLASS.into()]].concat())?;
    let expected = snippet::authorized_keys_files(&survey.keys_files);
    match apply(&desk, &changes, common.is_some(), &survey.connections, &expected, options) {
        Ok(note) => {
            journal.close()?;
            report.notes.push(note);
            report.notes.push(reload_note()?);
            Ok(report)
        }
        Err(error) => {
            journal.roll_back()?;
            Err(error)
        }
    }
}

/// Takes Cotter out of sshd and PAM.
pub fn undo(options: &Options) -> Result<Report, Error> {
    let places = Places::of(&options.config);
    let desk = begin(&places.state_dir, options.dry_run)?;
    let ours = [PathBuf::from(snippet::SSHD), agent_file(&options.config)];
    let mut changes = Vec::new();
    for path in ours.iter().filter(|path| snippet::is_ours(path)) {
        changes.extend(Change::to(path, None)?);
    }
    let common = fs::read_to_string(pam::COMMON).unwrap_or_default();
    let common =
        Change::to(Path::new(pam::COMMON), Some(pam::without_hook(&common)))?.filter(|_| pam::is_on());
    let mut report =
        Report { diff: changes.iter().chain(&common).map(Change::diff).collect(), notes: Vec::new() };
    if desk.is_none() {
        return Ok(report);
    }
    // PAM last: while sshd asks the command, the session hook is what ends a login that should not have been.
    for change in &changes {
        journal::remove(&change.path)?;
    }
    if common.is_some() {
        pam::switch(false)?;
    }
    nothing_left()?;
    if report.diff.is_empty() {
        report.notes.push("nothing to do: sshd and PAM know nothing of Cotter".to_owned());
    } else {
        report.notes.push(reload_note()?);
    }
    Ok(report)
}

/// The desk, and on it what an interrupted setup has left put back; none if nothing is to be changed.
fn begin(state_dir: &Path, dry_run: bool) -> Result<Option<Desk>, Error> {
    if dry_run {
        return Ok(None);
    }
    let desk = Desk::take(state_dir)?;
    if desk.recover()? {
        tracing::warn!("an earlier setup was interrupted; what it had changed is put back");
    }
    Ok(Some(desk))
}

/// The files of ours, where they are not as they should be.
fn files(options: &Options, config: &Config, survey: &Survey) -> Result<[Option<Change>; 2], Error> {
    let snippet = Snippet {
        keys_files: survey.keys_files.clone(),
        user_ca: survey.user_ca.clone(),
        command_user: snippet::command_user(),
    };
    let sshd = Change::to(Path::new(snippet::SSHD), Some(snippet.text()))?;
    let agent = agent_file(&options.config);
    let wanted =
        survey.principals_file.as_deref().filter(|_| config.login_names() || snippet::is_ours(&agent));
    let agent = match wanted {
        Some(principals_file) => Change::to(&agent, Some(snippet::agent(principals_file)))?,
        None => None,
    };
    Ok([sshd, agent])
}

fn agent_file(config: &Path) -> PathBuf {
    config.with_extension("d").join(snippet::AGENT)
}

/// The hook must deny nobody from the moment on that PAM runs it: to enforce is a decision of its own.
fn check_mode(config: &Config) -> Result<(), Error> {
    let fallback = Fallback::read(&config.runtime_dir, &config.state_dir);
    if fallback.permits() {
        return Ok(());
    }
    Err(Error::Stop(match fallback.problem {
        Some(problem) => format!("start cotter-agent first, in mode audit: {problem}"),
        None => "this node enforces, and logins could be denied at once: cotter-agent mode audit".to_owned(),
    }))
}

/// Changes everything, and checks it; what it proved.
fn apply(
    desk: &Desk,
    changes: &[Change],
    pam: bool,
    connections: &[Connection],
    keys_files: &str,
    options: &Options,
) -> Result<String, Error> {
    for change in changes {
        journal::replace(&change.path, change.after.as_deref().unwrap_or_default())?;
    }
    config::load_trusted(&options.config)?;
    sshd::check()?;
    for connection in connections {
        check_connection(connection, keys_files)?;
    }
    if pam {
        pam::switch(true)?;
    }
    check_pam()?;
    if !proof::has_key() {
        return Ok(format!(
            "{} has no key: put an administrator's public key there before mode enforce, and call this again",
            snippet::BREAK_GLASS
        ));
    }
    let account = proof::prove(desk, &accounts(options))?;
    Ok(format!("a break-glass key gets in: a login as {account} was tried"))
}

/// Accounts that are likely to let somebody in.
fn accounts(options: &Options) -> Vec<String> {
    if let Some(account) = &options.account {
        return vec![account.clone()];
    }
    let caller = std::env::var("SUDO_USER").ok();
    let administrators = ["sudo", "wheel"].into_iter().filter_map(connection::member);
    let mut accounts: Vec<String> =
        ["root".to_owned()].into_iter().chain(caller).chain(administrators).collect();
    accounts.dedup();
    accounts
}

/// Whether sshd goes by what we have written, and by nothing else.
fn check_connection(connection: &Connection, keys_files: &str) -> Result<(), Error> {
    let effective = Effective::of(connection)?;
    let mut wanted = vec![
        ("authorizedprincipalscommand", snippet::COMMAND),
        ("authorizedprincipalsfile", "none"),
        ("usepam", "yes"),
    ];
    if connection.block.is_none() {
        wanted.push(("authorizedkeysfile", keys_files));
    }
    for (keyword, wanted) in wanted {
        let found = effective.value(keyword);
        if found != wanted {
            return Err(Error::Stop(format!(
                "for {}, sshd would go by {keyword} {found} instead of {wanted}; does {} begin with \
                 `Include /etc/ssh/sshd_config.d/*.conf`?",
                connection.name(),
                sshd::CONFIG
            )));
        }
    }
    Ok(())
}

/// Whether PAM runs the hook where users have no say, and goes by it.
fn check_pam() -> Result<(), Error> {
    let why = match pam_order::of("sshd", Path::new("/etc/pam.d")) {
        Order::Right => return Ok(()),
        Order::NoHook => "does not include common-session, where the hook is".to_owned(),
        Order::EnvironmentFirst => {
            "runs pam_env with user_readenv before the hook, and so users can deceive it".to_owned()
        }
        Order::AtClose => "runs the hook by an older line too; take that out".to_owned(),
        Order::LeftOut(line) => format!("may leave the hook out, by `{line}`"),
        Order::GoesOn(line) => format!("lets logins in that the hook denies, by `{line}`"),
    };
    Err(Error::Stop(format!("/etc/pam.d/sshd {why}")))
}

/// That neither sshd nor PAM runs the hook: the package is about to be removed.
fn nothing_left() -> Result<(), Error> {
    let lines = sshd_config::read(Path::new(sshd::CONFIG), Path::new("")).unwrap_or_default();
    let mut left: Vec<String> = lines
        .iter()
        .filter(|line| line.value.contains("cotter-hook"))
        .map(sshd_config::Line::place)
        .collect();
    let services = fs::read_dir("/etc/pam.d").into_iter().flatten().flatten().map(|entry| entry.path());
    // A file that nobody includes, or that pam-auth-update puts aside, runs nothing; ours by hand is included by name.
    let runs = |text: &str| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.flat_map(str::split_whitespace).any(|word| word == "cotter" || word.ends_with("/cotter-hook"))
    };
    left.extend(
        services
            .filter(|path| path.file_name().is_none_or(|name| name != "cotter"))
            .filter(|path| path.extension().is_none_or(|extension| extension != "pam-old"))
            .filter(|path| fs::read_to_string(path).is_ok_and(|text| runs(&text)))
            .map(|path| path.display().to_string()),
    );
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::Stop(format!(
        "the hook is still run by {}: it was put there by hand, take it out there",
        left.join(", ")
    )))
}

fn reload_note() -> Result<String, Error> {
    Ok(match sshd::reload()? {
        true => "cotter-agent and sshd have read their configurations anew".to_owned(),
        false => "there is no systemd here: reload cotter-agent and sshd yourself (SIGHUP)".to_owned(),
    })
}
