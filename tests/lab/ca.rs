//! A certificate authority of `ssh-keygen`, and what it issues.

use anyhow::{Context, Result};
use ssh_key::PrivateKey;

use crate::place::Place;

/// A certificate authority. Its files lie in the lab.
#[derive(Clone, Debug)]
pub struct Ca {
    place: Place,
    directory: String,
}

/// What a certificate is to say. [`Order::login`] gives the usual one, to be changed with `..`.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Who it is for.
    pub key_id: &'a str,
    /// The logins it is good for.
    pub principals: &'a [&'a str],
    /// Its serial number.
    pub serial: u64,
    /// From when to when, as `ssh-keygen -V` has it.
    pub validity: &'a str,
    /// The pin: what follows `source-address=`.
    pub source_address: Option<&'a str>,
    /// Further `ssh-keygen -O` options, such as `extension:roles@cotter=["dev"]`.
    pub options: &'a [&'a str],
    /// What `ssh-keygen -t` makes of the user's key.
    pub key_type: &'a str,
}

impl<'a> Order<'a> {
    /// A certificate for `login` that is valid for an hour and carries no pin.
    pub fn login(login: &'a str, principals: &'a [&'a str]) -> Self {
        Self {
            key_id: login,
            principals,
            serial: 1,
            validity: "-5m:+1h",
            source_address: None,
            options: &[],
            key_type: "ed25519",
        }
    }

    /// The same, with a pin.
    pub fn pinned(self, source_address: &'a str) -> Self {
        Self { source_address: Some(source_address), ..self }
    }
}

/// A private key and, beside it, its public key and certificate: paths in the lab.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The private key; the certificate is this with `-cert.pub`, the public key with `.pub`.
    pub key: String,
}

impl Identity {
    /// Makes a key without a certificate.
    pub fn plain(place: &Place, key: &str) -> Result<Self> {
        generate(place, "ed25519", key)?;
        Ok(Self { key: key.to_owned() })
    }

    /// Path of the certificate.
    pub fn certificate(&self) -> String {
        format!("{}-cert.pub", self.key)
    }

    /// Path of the public key.
    pub fn public(&self) -> String {
        format!("{}.pub", self.key)
    }
}

impl Ca {
    /// Makes an authority of the name; its user keys are `/root/NAME/ca.pub`.
    pub fn new(place: &Place, name: &str) -> Result<Self> {
        Self::with_key_type(place, name, "ed25519")
    }

    /// The same with a key of another type (`ecdsa`, `rsa`).
    pub fn with_key_type(place: &Place, name: &str, key_type: &str) -> Result<Self> {
        let directory = format!("/root/{name}");
        place.run("mkdir", &["-p", &directory])?;
        generate(place, key_type, &format!("{directory}/ca"))?;
        Ok(Self { place: place.clone(), directory })
    }

    /// An authority of which only the public key is known.
    pub fn known(place: &Place, name: &str, public_key: &str) -> Result<Self> {
        let directory = format!("/root/{name}");
        place.write(format!("{directory}/ca.pub"), &format!("{public_key}\n"))?;
        Ok(Self { place: place.clone(), directory })
    }

    /// The line of its public key.
    pub fn public_key(&self) -> Result<String> {
        self.place.read(format!("{}/ca.pub", self.directory))
    }

    /// Its key, to sign without `ssh-keygen`.
    pub(crate) fn private_key(&self) -> Result<PrivateKey> {
        let file = format!("{}/ca", self.directory);
        PrivateKey::from_openssh(self.place.read(&file)?).context(file)
    }

    /// Makes a key named `name` and a certificate for it.
    pub fn issue(&self, name: &str, order: &Order<'_>) -> Result<Identity> {
        let identity = Identity { key: format!("{}/{name}", self.directory) };
        generate(&self.place, order.key_type, &identity.key)?;
        self.certify(&identity, order)?;
        Ok(identity)
    }

    /// Makes a (new) certificate for a key that is there.
    pub fn certify(&self, identity: &Identity, order: &Order<'_>) -> Result<()> {
        let ca = format!("{}/ca", self.directory);
        let serial = order.serial.to_string();
        let principals = order.principals.join(",");
        let pin = order.source_address.map(|addresses| format!("source-address={addresses}"));
        let mut arguments = vec!["-q", "-s", &ca, "-I", order.key_id, "-z", &serial, "-V", order.validity];
        if !principals.is_empty() {
            arguments.extend(["-n", &principals]);
        }
        for option in pin.as_deref().into_iter().chain(order.options.iter().copied()) {
            arguments.extend(["-O", option]);
        }
        let public = identity.public();
        arguments.push(&public);
        self.place.run("ssh-keygen", &arguments).map(drop)
    }
}

fn generate(place: &Place, key_type: &str, path: &str) -> Result<()> {
    place.run("ssh-keygen", &["-q", "-t", key_type, "-N", "", "-C", "lab", "-f", path]).map(drop)
}
