//! `login`: from a password to a certificate.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cotter_api::{Authority, AuthorityError, Fingerprint, Issued, LoginRequest, Place, Shown, Trust};

use super::{Context, Failure, renewal, ssh, status};
use crate::credential::{CredentialError, NewKey};
use crate::home::Patience;
use crate::known::Known;
use crate::terminal::{self, AskError};
use crate::whereabouts::Route;

/// Tries at a terminal, as ssh has them.
const TRIES: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Who you are at the authority; as the last time if left out, or as on this machine
    #[arg(long)]
    user: Option<String>,
    /// The fingerprint of the authority's certificate, as its `init` prints it
    #[arg(long, value_name = "SHA256:…", conflicts_with = "ca_file")]
    fingerprint: Option<Fingerprint>,
    /// Who vouches for the authority instead: a PEM file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Keep the key in your ssh-agent until the certificate's end, and on no disk; later logins do so, too
    #[arg(long, conflicts_with = "no_ssh_agent")]
    ssh_agent: bool,
    /// Keep the key in a file of yours again
    #[arg(long)]
    no_ssh_agent: bool,
    /// Read the password, and on a second line the second factor's code, from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Only if the certificate is of no use here and now
    #[arg(long, conflicts_with = "password_stdin")]
    if_needed: bool,
}

pub(super) async fn login(context: Context, options: Options) -> Result<ExitCode, Failure> {
    if options.if_needed && std::env::var_os(ssh::CHECKED).is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let (password_stdin, if_needed) = (options.password_stdin, options.if_needed);
    let known = known(&context, options).await?;
    if if_needed {
        renewal::renew(&context, &known).await?;
    } else if !password_stdin && !terminal::is_there() {
        return Err(AskError::NoTerminal.into());
    } else {
        let patience = if password_stdin { Patience::AMoment } else { renewal::A_PERSONS };
        let _turn = context.home.turn(patience)?;
        log_in(&context, &known, password_stdin).await?;
    }
    if context.authorities.last() != Some(&known) {
        context.authorities.clone().remember(known.clone(), &context.home)?;
    }
    if if_needed { Ok(ExitCode::SUCCESS) } else { status::show(&context, &known).await }
}

/// The authority to log in at: what the options say, else as the last time, else as the fleet's.
async fn known(context: &Context, options: Options) -> Result<Known, Failure> {
    let place = context.place()?.clone();
    let last = context.authorities.at(&place);
    let fleet = Some(&context.fleet).filter(|fleet| fleet.authority.as_ref() == Some(&place));
    let fleet = fleet.filter(|fleet| fleet.fingerprint.is_some() || fleet.ca_file.is_some());
    let user = options.user.or_else(|| last.map(|last| last.user.clone())).or_else(here);
    let user = user.ok_or_else(|| Failure::usage("who are you there? --user NAME"))?;
    let (fingerprint, ca_file) = match (options.fingerprint, options.ca_file) {
        (Some(fingerprint), _) => (Some(fingerprint.to_string()), None),
        (None, Some(file)) => (None, Some(std::path::absolute(file).map_err(Failure::usage)?)),
        (None, None) => match (last, fleet) {
            (Some(last), _) => (last.fingerprint.clone(), last.ca_file.clone()),
            (None, Some(fleet)) => (fleet.fingerprint.clone(), fleet.ca_file.clone()),
            (None, None) => (Some(ask_fingerprint(&place).await?), None),
        },
    };
    let ssh_agent = options.ssh_agent || (!options.no_ssh_agent && last.is_some_and(|last| last.ssh_agent));
    Ok(Known { authority: place, fingerprint, ca_file, user, ssh_agent })
}

/// Who somebody is on this machine.
fn here() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
}

/// Shows the fingerprint of an authority that is not known yet, and asks whether it is the right one.
async fn ask_fingerprint(place: &Place) -> Result<String, Failure> {
    if !terminal::is_there() {
        let what =
            format!("{place} is not known yet: give --fingerprint, as its `init` prints it, or --ca-file");
        return Err(Failure::refused(what));
    }
    let seen = Shown::default();
    let answer = Authority::new(place.clone(), Trust::Nobody(seen.clone())).observed().await;
    let Some(fingerprint) = seen.fingerprint() else {
        let why =
            answer.err().map_or_else(|| "it shows no certificate".to_owned(), |error| error.to_string());
        return Err(Failure::unreachable(why));
    };
    let question = format!(
        "{place} is not known yet. It shows the fingerprint\n  {fingerprint}\n\
         Is it the one that its administrator has told you (yes, no, or the fingerprint)? "
    );
    let answer = terminal::ask(question).await?;
    let is_it = answer.eq_ignore_ascii_case("yes") || answer.parse::<Fingerprint>() == Ok(fingerprint);
    if is_it { Ok(fingerprint.to_string()) } else { Err(Failure::refused("not logged in: not trusted")) }
}

/// Asks for what proves who somebody is, and stores the certificate.
pub(super) async fn log_in(context: &Context, known: &Known, password_stdin: bool) -> Result<(), Failure> {
    let authority = known.authority().map_err(Failure::usage)?;
    let key = NewKey::make().map_err(Failure::refused)?;
    let public_key = key.public().map_err(Failure::refused)?;
    // People type meanwhile.
    let route = tokio::spawn(Route::find(authority.clone(), public_key.clone()));
    let mut way = Way::Sought(route);
    let mut tries = if password_stdin { 1 } else { TRIES };
    let issued = loop {
        let question = format!("Password of {} at {}: ", known.user, authority.place());
        let password = secret(question, password_stdin).await?;
        let request = LoginRequest {
            user: known.user.clone(),
            password,
            code: None,
            public_key: public_key.clone(),
            other_observation: None,
        };
        let route = way.found().await?;
        tries -= 1;
        match send(route, request, password_stdin).await {
            Err(Attempt::Wrong(message)) if tries > 0 => eprintln!("cotter: {message}"),
            Err(Attempt::Wrong(message)) => return Err(Failure::refused(message)),
            Err(Attempt::Failed(failure)) => return Err(failure),
            Ok(issued) => break issued,
        }
    };
    key.require_own(&issued.certificate, &known.user).map_err(Failure::refused)?;
    let drawer = context.drawer(known)?;
    let kept = if known.ssh_agent {
        key.hand_over(&issued.certificate, &format!("{} at {}", known.user, known.authority), &drawer)
    } else {
        key.store(&issued.certificate, &drawer).map_err(CredentialError::from)
    };
    kept.map_err(Failure::refused)
}

/// The route to the authority, which is looked for while somebody types.
enum Way {
    Sought(tokio::task::JoinHandle<Route>),
    Found(Route),
}

impl Way {
    async fn found(&mut self) -> Result<&mut Route, Failure> {
        if let Self::Sought(task) = self {
            let found = terminal::unless_interrupted(task).await?;
            *self = Self::Found(found.map_err(Failure::unreachable)?);
        }
        match self {
            Self::Found(route) => Ok(route),
            Self::Sought(_) => Err(Failure::unreachable("the way to the authority was not found")),
        }
    }
}

/// Why an attempt to log in came to nothing.
enum Attempt {
    /// Password or code; another try may be right.
    Wrong(String),
    /// For good.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Attempt {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

async fn send(route: &mut Route, mut request: LoginRequest, password_stdin: bool) -> Result<Issued, Attempt> {
    let mut answer = once(route, &mut request).await?;
    if let Err(AuthorityError::Refused(refusal)) = &answer
        && refusal.error == "code_needed"
    {
        let code = secret("Code of your second factor: ".to_owned(), password_stdin).await?;
        request.code = Some(code.trim().to_owned());
        answer = once(route, &mut request).await?;
    }
    answer.map_err(|error| match error {
        AuthorityError::Refused(refusal) if refusal.error == "wrong" => Attempt::Wrong(refusal.message),
        AuthorityError::Refused(_) | AuthorityError::Unreachable { .. } | AuthorityError::Another { .. } => {
            Attempt::Failed(error.into())
        }
    })
}

async fn once(
    route: &mut Route,
    request: &mut LoginRequest,
) -> Result<Result<Issued, AuthorityError>, AskError> {
    terminal::unless_interrupted(async {
        request.other_observation = route.statement(&request.public_key).await;
        route.authority.login(request).await
    })
    .await
}

async fn secret(question: String, from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(Failure::usage)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    terminal::ask_secret(question).await.map_err(|error| match error {
        AskError::NoTerminal => {
            Failure::refused("there is no terminal to ask for your password at: run `cotter login` at one")
        }
        AskError::Interrupted | AskError::Failed(_) => error.into(),
    })
}
