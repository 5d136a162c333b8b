//! `login`: from a password to a certificate.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use cotter_api::{Authority, AuthorityError, Fingerprint, LoginRequest, Place, Shown, Trust};

use super::{Failure, status};
use crate::credential::NewKey;
use crate::home::{Home, Known};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the authority is, such as https://login.example.com; the one of the last login if left out
    #[arg(long, value_name = "URL")]
    authority: Option<Place>,
    /// Who you are there
    #[arg(long)]
    user: Option<String>,
    /// The fingerprint of the authority's certificate, as its `init` prints it
    #[arg(long, value_name = "SHA256:…", conflicts_with = "ca_file")]
    fingerprint: Option<String>,
    /// Who vouches for the authority instead: a PEM file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// Read the password, and on a second line the second factor's code, from standard input
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn login(home: &Home, options: Options, json: bool) -> Result<ExitCode, Failure> {
    let password_stdin = options.password_stdin;
    let known = known(home, options).await?;
    log_in(home, &known, password_stdin).await?;
    home.remember(&known).map_err(Failure::refused)?;
    status::status(home, json).await
}

/// The authority to log in at: what the options say, else as the last time.
async fn known(home: &Home, options: Options) -> Result<Known, Failure> {
    let last = home.known().map_err(Failure::refused)?;
    let authority = options.authority.or_else(|| last.as_ref().map(|last| last.authority.clone()));
    let authority = authority.ok_or_else(|| Failure::usage("where is the authority? --authority URL"))?;
    let last = last.filter(|last| last.authority == authority);
    let user = options.user.or_else(|| last.as_ref().map(|last| last.user.clone()));
    let user = match user {
        Some(user) => user,
        None => std::env::var("USER").map_err(|_unset| Failure::usage("who are you there? --user NAME"))?,
    };
    let (fingerprint, ca_file) = match (options.fingerprint, options.ca_file, last) {
        (None, None, Some(last)) => (last.fingerprint, last.ca_file),
        (None, None, None) => (Some(ask_fingerprint(&authority).await?), None),
        (fingerprint, ca_file, _) => (fingerprint, ca_file),
    };
    Ok(Known { authority, fingerprint, ca_file, user })
}

/// Shows the fingerprint of an authority that is not known yet, and asks whether it is the right one.
async fn ask_fingerprint(place: &Place) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
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
    print!(
        "{place} is not known yet. It shows the fingerprint\n  {fingerprint}\nIs it the right one (yes/no)? "
    );
    io::stdout().flush().map_err(Failure::usage)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Failure::usage)?;
    let answer = answer.trim();
    let is_it = answer.eq_ignore_ascii_case("yes") || answer.parse::<Fingerprint>() == Ok(fingerprint);
    if is_it { Ok(fingerprint.to_string()) } else { Err(Failure::refused("not logged in")) }
}

/// Asks for what proves who somebody is, and stores the certificate.
pub(super) async fn log_in(home: &Home, known: &Known, password_stdin: bool) -> Result<(), Failure> {
    let authority = known.authority().map_err(Failure::usage)?;
    let key = NewKey::make().map_err(Failure::refused)?;
    let public_key = key.public().map_err(Failure::refused)?;
    let password = secret(&format!("Password of {} at {}: ", known.user, authority.place()), password_stdin)?;
    let mut request = LoginRequest { user: known.user.clone(), password, code: None, public_key };
    let issued = match authority.login(&request).await {
        Err(AuthorityError::Refused(refusal)) if refusal.error == "code_needed" => {
            let code = secret("Code of your second factor: ", password_stdin)?;
            request.code = Some(code.trim().to_owned());
            authority.login(&request).await
        }
        other => other,
    };
    let issued = issued.map_err(|error| match error {
        AuthorityError::Refused(_) => Failure::refused(error),
        AuthorityError::Unreachable { .. } => Failure::unreachable(error),
    })?;
    key.store(&issued.certificate, home).map_err(Failure::refused)
}

fn secret(prompt: &str, from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(Failure::usage)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    rpassword::prompt_password(prompt).map_err(|_no_terminal| {
        Failure::refused("there is no terminal to ask for your password at: run `cotter login` at one")
    })
}
