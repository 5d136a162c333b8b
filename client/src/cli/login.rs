//! `login`: from a password to a certificate.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cotter_api::{Authority, AuthorityError, Fingerprint, Issued, LoginRequest, Place, Shown, Trust, plain};
use tokio::task::spawn_blocking;

use super::{Context, Failure, renewal, ssh, status, user_here};
use crate::credential::{NewKey, unix};
use crate::ending::Endings;
use crate::home::Patience;
use crate::knock::ONLY_ASKED;
use crate::known::{Becomes, Known, KnownAuthorities};
use crate::ssh_agent::SshAgent;
use crate::terminal::{self, AskError, tell_before_asking};
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
    // Whoever asks may be left without an answer.
    Endings::listen().map_err(Failure::unreachable)?.unless(told(context, options)).await?
}

async fn told(context: Context, options: Options) -> Result<ExitCode, Failure> {
    if options.if_needed && is_seen_to(context.place()?) {
        return Ok(ExitCode::SUCCESS);
    }
    let (password_stdin, if_needed) = (options.password_stdin, options.if_needed);
    let known = known(&context, options).await?;
    if if_needed {
        renewal::renew(&context, &known).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (proof, patience) = match password_stdin {
        true => (Proof::Read, Patience::AMoment),
        false if terminal::is_there() => (Proof::Asked, renewal::A_PERSONS),
        false => return Err(AskError::NoTerminal.into()),
    };
    let turn = context.home.turn(patience).await?;
    log_in(&context, &known, proof, Becomes::Usual).await?;
    drop(turn);
    status::show(&context, &known).await
}

/// Whether nothing is to be done for an ssh that this runs below: it is only asked where it goes, or was run by a `cotter ssh`
/// that has seen to that authority.
pub(super) fn is_seen_to(place: &Place) -> bool {
    let is_only_asked = std::env::var_os(ONLY_ASKED).is_some();
    is_only_asked
        || std::env::var_os(ssh::CHECKED).is_some_and(|checked| checked.to_str() == Some(&place.to_string()))
}

/// The authority to log in at: what the options say, else as the last time, else as the fleet's.
async fn known(context: &Context, options: Options) -> Result<Known, Failure> {
    let place = context.place()?.clone();
    let last = context.authorities.at(&place);
    let vouched_for = context.fleet.vouches_for(&place).is_some();
    let user = options.user.or_else(|| last.map(|last| last.user.clone())).or_else(user_here);
    let user = user.ok_or_else(|| Failure::usage("who are you there? --user NAME"))?;
    let last_said = last.map(|last| (last.fingerprint.clone(), last.ca_file.clone()));
    let (fingerprint, ca_file) = match (options.fingerprint, options.ca_file, last_said) {
        (Some(fingerprint), _, _) => (Some(fingerprint.to_string()), None),
        (None, Some(file), _) => (None, Some(std::path::absolute(file).map_err(Failure::usage)?)),
        (None, None, Some(said)) if said != (None, None) => said,
        // What the fleet says may change, and is not kept.
        (None, None, _) if vouched_for => (None, None),
        (None, None, _) => (Some(ask_fingerprint(&place).await?), None),
    };
    let ssh_agent = options.ssh_agent || (!options.no_ssh_agent && last.is_some_and(|last| last.ssh_agent));
    Ok(Known { authority: place, fingerprint, ca_file, user, ssh_agent })
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

/// Where what proves who somebody is comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Whoever sits at the terminal.
    Asked,
    /// Standard input.
    Read,
}

/// Logs in with what proves who somebody is, and stores the certificate; for who has the turn.
pub(super) async fn log_in(
    context: &Context,
    known: &Known,
    proof: Proof,
    becomes: Becomes,
) -> Result<(), Failure> {
    let authority = known.authority(&context.fleet).map_err(Failure::usage)?;
    if known.ssh_agent {
        // One that is away is told before anybody types.
        let away =
            |error| Failure::refused(format!("{error}; for a key in a file: cotter login --no-ssh-agent"));
        spawn_blocking(SshAgent::connect).await.map_err(Failure::unreachable)?.map_err(away)?;
    }
    let key = NewKey::make().map_err(Failure::refused)?;
    let issued = prove(&authority, known, &key, proof).await?;
    key.require_own(&issued.certificate, &known.user, unix()).map_err(Failure::refused)?;
    let (drawer, comment) = (context.drawer(known)?, format!("{} at {}", known.user, known.authority));
    let ssh_agent = known.ssh_agent;
    // An ssh-agent may take its time.
    let keep = spawn_blocking(move || match ssh_agent {
        true => key.hand_over(&issued, &comment, &drawer),
        false => Ok(key.store(&issued, &drawer)?),
    });
    keep.await.map_err(Failure::unreachable)?.map_err(Failure::refused)?;
    Ok(KnownAuthorities::remember(known.clone(), becomes, &context.home)?)
}

/// Gets a certificate, in a few tries if somebody can be asked again.
async fn prove(authority: &Authority, known: &Known, key: &NewKey, proof: Proof) -> Result<Issued, Failure> {
    let public_key = key.public().map_err(Failure::refused)?;
    // People type meanwhile.
    let mut way = Way::Sought(tokio::spawn(Route::find(authority.clone(), public_key.clone())));
    let mut tries = if proof == Proof::Asked { TRIES } else { 1 };
    loop {
        let question = format!("Password of {} at {}: ", plain(&known.user), authority.place());
        let request = LoginRequest {
            user: known.user.clone(),
            password: secret(question, proof).await?,
            code: None,
            public_key: public_key.clone(),
            other_observation: None,
        };
        let route = way.found().await?;
        tries -= 1;
        match send(route, request, proof).await {
            Err(Attempt::Wrong(message)) if tries > 0 => tell_before_asking(message),
            Err(Attempt::Wrong(message)) => return Err(Failure::refused(message)),
            Err(Attempt::Failed(failure)) => return Err(failure),
            Ok(issued) => return Ok(issued),
        }
    }
}

/// The route to the authority, which is looked for while somebody types.
enum Way {
    Sought(tokio::task::JoinHandle<Route>),
    Found(Route),
}

impl Way {
    async fn found(&mut self) -> Result<&mut Route, Failure> {
        if let Self::Sought(task) = self {
            *self = Self::Found(task.await.map_err(Failure::unreachable)?);
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

async fn send(route: &mut Route, mut request: LoginRequest, proof: Proof) -> Result<Issued, Attempt> {
    let mut answer = once(route, &mut request).await;
    if let Err(AuthorityError::Refused(refusal)) = &answer
        && refusal.error == "code_needed"
    {
        let code = secret("Code of your second factor: ".to_owned(), proof).await?;
        request.code = Some(code.trim().to_owned());
        answer = once(route, &mut request).await;
    }
    answer.map_err(|error| match error {
        AuthorityError::Refused(refusal) if refusal.error == "wrong" => Attempt::Wrong(refusal.message),
        AuthorityError::Refused(_) | AuthorityError::Unreachable { .. } | AuthorityError::Another { .. } => {
            Attempt::Failed(error.into())
        }
    })
}

async fn once(route: &mut Route, request: &mut LoginRequest) -> Result<Issued, AuthorityError> {
    request.other_observation = route.statement(&request.public_key).await;
    route.authority.login(request).await
}

async fn secret(question: String, proof: Proof) -> Result<String, Failure> {
    if proof == Proof::Read {
        let line = spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let line = line.await.map_err(Failure::unreachable)?.map_err(Failure::usage)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    terminal::ask_secret(question).await.map_err(|error| match error {
        AskError::NoTerminal => {
            Failure::refused("there is no terminal to ask for your password at: run `cotter login` at one")
        }
        AskError::Declined | AskError::Failed(_) => error.into(),
    })
}
