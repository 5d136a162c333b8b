//! Who knocks at the node.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::SystemTime;

use anyhow::{Context, Result};
use cotter_knock::{Draft, Fingerprint, KnockKey, NAMESPACE, NONCE_LEN, Packed, UnixMillis};
use rustix::rand::{GetRandomFlags, getrandom};
use ssh_key::{Certificate, HashAlg, PrivateKey};

use crate::ca::Identity;
use crate::network::NODE_V4;
use crate::place::Place;

/// The host key of the lab's sshd.
const HOST_KEY: &str = "/root/host";
/// Its public half, where an agent may read it that may not look into homes.
const PUBLIC: &str = "/etc/cotter/host.pub";
/// Where nodes of the lab are knocked at.
const PORT: u16 = 4022;

/// Somebody with a certificate, at some place.
#[derive(Debug)]
pub struct Knocker {
    place: Place,
    node: Fingerprint,
    key: PrivateKey,
    certificate: Vec<u8>,
}

impl Knocker {
    /// Lines of an agent's configuration that have it hear knocks, with the host key that sshd will have; and more.
    pub fn heard(node: &Place, rest: &str) -> Result<String> {
        let make = format!("[ -e {HOST_KEY} ] || ssh-keygen -q -t ed25519 -N '' -C lab -f {HOST_KEY}");
        node.run("sh", &["-c", &make])?;
        node.write(PUBLIC, &node.read(format!("{HOST_KEY}.pub"))?)?;
        Ok(format!("[knock]\nport = {PORT}\nhost_keys = [\"{PUBLIC}\"]\n{rest}"))
    }

    /// Whoever has these files, at the place.
    pub fn new(place: &Place, identity: &Identity) -> Result<Self> {
        let certificate = Certificate::from_openssh(&place.read(identity.certificate())?);
        Ok(Self {
            place: place.clone(),
            node: Fingerprint::of_line(&place.read(format!("{HOST_KEY}.pub"))?)?,
            key: PrivateKey::from_openssh(place.read(&identity.key)?).context("no key")?,
            certificate: certificate.context("no certificate")?.to_bytes()?,
        })
    }

    /// The same files at another place.
    pub fn at(self, place: &Place) -> Self {
        Self { place: place.clone(), ..self }
    }

    /// The certificate's bytes.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A knock that is made now, with a nonce of its own.
    pub fn knock(&self) -> Result<Packed> {
        self.made(SystemTime::now(), self.node, None)
    }

    /// One of another time, node or with a MAC.
    pub fn made(&self, time: SystemTime, node: Fingerprint, key: Option<&KnockKey>) -> Result<Packed> {
        let mut nonce = [0; NONCE_LEN];
        getrandom(&mut nonce, GetRandomFlags::empty())?;
        let draft = Draft::new(node, UnixMillis::from(time), nonce, &self.certificate);
        let proof = self.key.sign(NAMESPACE, HashAlg::Sha512, &draft.message())?;
        let signature: Vec<u8> = proof.signature().clone().try_into()?;
        Ok(draft.signed(&signature, key)?)
    }

    /// The node that it knocks at.
    pub fn node(&self) -> Fingerprint {
        self.node
    }

    /// Sends it in a datagram.
    pub fn send(&self, knock: &Packed) -> Result<()> {
        self.send_bytes(knock.datagram().context("too large for a datagram")?)
    }

    /// Sends a datagram to where the node is knocked at.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.place.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.send_to(bytes, (NODE_V4, PORT)).map(drop)
        })??;
        Ok(())
    }

    /// Connects to where the node is knocked at, if something answers there.
    pub fn connect(&self) -> Result<Option<TcpStream>> {
        let address = SocketAddr::from((NODE_V4, PORT));
        Ok(self.place.enter(|| TcpStream::connect(address))?.ok())
    }
}
