//! Certificates by the hundred, and the ssh-agent that offers them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::{Certificate, LineEnding, certificate};

use crate::ca::{Ca, Identity};
use crate::eventually::eventually;
use crate::place::Place;
use crate::process::Process;
use crate::ssh::Login;

/// One key with more certificates than anybody needs, all of them valid and signed: what a stranger who collected them
/// can have a single connection ask about. Its ssh-agent ends when it is dropped.
#[derive(Debug)]
pub struct Hoard {
    place: Place,
    _agent: Process,
}

/// How many an ssh-agent offers, and how many the command line. OpenSSH's client takes 100 from there.
const BY_AGENT: usize = 874;
const BY_FILE: usize = 99;

/// Longest answer that OpenSSH's client takes from its agent (authfd.c, `MAX_AGENT_REPLY_LEN`).
const MAX_ANSWER: usize = 256 * 1024;

const DIRECTORY: &str = "/root/hoard";
const SOCKET: &str = "/root/hoard/agent";
const KEY: &str = "/root/hoard/key";

impl Hoard {
    /// Certificates in all.
    pub const SIZE: usize = BY_AGENT + BY_FILE;

    /// Has `ca` make them for the principal, and puts them where logins from `place` find them.
    pub fn new(place: &Place, ca: &Ca, principal: &str) -> Result<Self> {
        let (ca, key) = (ca.private_key()?, Ed25519Keypair::from_seed(&[7; 32]));
        let private = PrivateKey::from(key.clone());
        place.write(KEY, &private.to_openssh(LineEnding::LF)?)?;
        place.write(format!("{KEY}.pub"), &private.public_key().to_openssh()?)?;
        place.run("chmod", &["600", KEY])?;
        for serial in 1..=BY_FILE {
            place.write(file(serial), &minted(&ca, &key, principal, serial)?.to_openssh()?)?;
        }
        let agent = listening_agent(place)?;
        let offered: Vec<_> = (BY_FILE + 1..=Self::SIZE)
            .map(|serial| Ok(minted(&ca, &key, principal, serial)?.to_bytes()?))
            .collect::<Result<_>>()?;
        ensure!(answer_length(&offered) <= MAX_ANSWER, "ssh would not take these from its agent");
        let mut socket = place.enter(|| UnixStream::connect(SOCKET))?.context(SOCKET)?;
        for certificate in &offered {
            add(&mut socket, certificate, &key)?;
        }
        Ok(Self { place: place.clone(), _agent: agent })
    }

    /// A login that offers all of them.
    pub fn login(&self, user: &str) -> Login {
        let mut login = Login::new(&self.place, &Identity { key: KEY.into() }, user)
            .option(&format!("-oIdentityAgent={SOCKET}"))
            .option("-oIdentitiesOnly=no");
        for serial in 1..=BY_FILE {
            login = login.option(&format!("-oCertificateFile={}", file(serial)));
        }
        login
    }
}

fn file(serial: usize) -> String {
    format!("{DIRECTORY}/{serial}-cert.pub")
}

/// A certificate as short as can be: no key id, no options, no extensions, and so without a role.
fn minted(ca: &PrivateKey, key: &Ed25519Keypair, principal: &str, serial: usize) -> Result<Certificate> {
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let nonce = (serial as u128).to_be_bytes();
    let mut certificate =
        certificate::Builder::new_with_validity_times(nonce, key.public, now - hour, now + hour)?;
    certificate.serial(serial as u64)?.valid_principal(principal)?;
    Ok(certificate.sign(ca)?)
}

fn listening_agent(place: &Place) -> Result<Process> {
    let agent = place.spawn(Place::command("ssh-agent").args(["-D", "-a", SOCKET]).stdout(Stdio::null()))?;
    eventually("ssh-agent listens", || Ok(place.enter(|| Path::new(SOCKET).exists())?.then_some(())))?;
    Ok(agent)
}

/// Length of the ssh-agent's answer to who asks what it holds: a type, a number, each certificate and its empty comment.
fn answer_length(certificates: &[Vec<u8>]) -> usize {
    5 + certificates.iter().map(|certificate| 4 + certificate.len() + 4).sum::<usize>()
}

/// Gives the ssh-agent a certificate with its key, and nothing else (`ssh-add` would add the bare key, too).
fn add(socket: &mut UnixStream, certificate: &[u8], key: &Ed25519Keypair) -> Result<()> {
    const ADD_IDENTITY: u8 = 17;
    const SUCCESS: [u8; 5] = [0, 0, 0, 1, 6];
    let mut request = vec![ADD_IDENTITY];
    let (kind, pair) = (b"ssh-ed25519-cert-v01@openssh.com", key.to_bytes());
    let parts: [&[u8]; 5] = [kind, certificate, &key.public.0, &pair, b""];
    for part in parts {
        put(&mut request, part)?;
    }
    let mut message = Vec::new();
    put(&mut message, &request)?;
    socket.write_all(&message)?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer)?;
    ensure!(answer == SUCCESS, "ssh-agent answers {answer:?}");
    Ok(())
}

/// Appends a string as ssh has it: its length, four bytes in network order, first.
fn put(message: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    message.extend(u32::try_from(text.len())?.to_be_bytes());
    message.extend(text);
    Ok(())
}
