//! Knocks with keys, certificates and signatures of OpenSSH's own `ssh-keygen`, which must be installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding};
use cotter_knock::{
    Draft, DraftError, Fingerprint, FleetSecret, Knock, MAX_DATAGRAM, NAMESPACE, Packed, UnixMillis, Unproven,
};
use signature::Signer;
use ssh_key::{PrivateKey, Signature, SshSig};
use tempfile::TempDir;

const TIME: UnixMillis = UnixMillis(1_800_000_000_000);

/// A user's key, certified as an authority's users are: two pins, the usual extensions, and ours.
struct Keys(TempDir);

impl Keys {
    fn make(user: &[&str], ca: &[&str]) -> Self {
        let keys = Self(TempDir::new().unwrap());
        for (file, kind) in [("user", user), ("ca", ca), ("host", ED25519)] {
            keys.generate(file, kind);
        }
        keys.keygen(
            &[
                &[
                    "-q",
                    "-s",
                    "ca",
                    "-I",
                    "alice@example.com",
                    "-n",
                    "alice,deploy,postgres,www-data",
                    "-V",
                    "+1h",
                ][..],
                &["-O", "source-address=198.51.111.1/32,2001:db8:1234:5678:9abc:def0:1234:5678/128"],
                &[
                    "-O",
                    "extension:login-ip=198.51.111.1",
                    "-O",
                    "extension:roles@cotter=[\"developer\",\"pinned-ip\"]",
                ],
                &["user.pub"],
            ]
            .concat(),
        );
        keys
    }

    /// A key that can be read here: ssh-key takes no ECDSA key whose private number is short, as one in 256 is.
    fn generate(&self, file: &str, kind: &[&str]) {
        for _ in 0..20 {
            self.keygen(&[&["-q", "-N", "", "-C", "", "-f", file, "-t"], kind].concat());
            if PrivateKey::from_openssh(self.read(file)).is_ok() {
                return;
            }
            std::fs::remove_file(self.dir().join(file)).unwrap();
        }
        panic!("ssh-key reads no key {kind:?}");
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn keygen(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ssh-keygen");
        let output = command.args(arguments).current_dir(self.dir()).output();
        let output = output.expect("ssh-keygen (Debian: openssh-client) is needed by this test");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir().join(file)).unwrap()
    }

    fn certificate(&self) -> Vec<u8> {
        Base64::decode_vec(self.read("user-cert.pub").split(' ').nth(1).unwrap()).unwrap()
    }

    fn node(&self) -> Fingerprint {
        Fingerprint::of_line(&self.read("host.pub")).unwrap()
    }

    /// By the key's file.
    fn signed(&self, draft: &Draft<'_>) -> Vec<u8> {
        let key = PrivateKey::from_openssh(self.read("user")).unwrap();
        let signature: Signature = key.try_sign(&draft.to_sign()).unwrap();
        signature.try_into().unwrap()
    }

    /// By an RSA key of 3072 bits, with a hash that openssl is told, under the name that SSH has for both.
    fn signed_by_rsa(&self, draft: &Draft<'_>, hash: &str, name: &[u8]) -> Vec<u8> {
        std::fs::write(self.dir().join("signed"), draft.to_sign()).unwrap();
        std::fs::copy(self.dir().join("user"), self.dir().join("user.pem")).unwrap();
        self.keygen(&["-q", "-p", "-m", "PEM", "-N", "", "-f", "user.pem"]);
        let mut command = Command::new("openssl");
        command.args(["dgst", hash, "-sign", "user.pem", "signed"]).current_dir(self.dir());
        let output = command.output().expect("openssl is needed by this test");
        [string(name), string(&output.stdout)].concat()
    }

    /// By `ssh-keygen -Y sign`.
    fn signed_by_keygen(&self, draft: &Draft<'_>, namespace: &str) -> Vec<u8> {
        std::fs::write(self.dir().join("message"), draft.message()).unwrap();
        let _gone = std::fs::remove_file(self.dir().join("message.sig"));
        self.keygen(&["-q", "-Y", "sign", "-f", "user", "-n", namespace, "message"]);
        let envelope = SshSig::from_pem(self.read("message.sig")).unwrap();
        envelope.signature().clone().try_into().unwrap()
    }

    fn draft<'a>(&self, certificate: &'a [u8]) -> Draft<'a> {
        Draft::new(self.node(), TIME, [3; 16], certificate)
    }

    /// The knock with this signature, which has to be understood.
    fn proven(&self, draft: &Draft<'_>, signature: &[u8]) -> Packed {
        let certificate = self.certificate();
        let fleet = FleetSecret::new([7; 32]);
        let packed = draft.signed(signature, Some(&fleet.key_for(&certificate))).unwrap();
        let knock = Knock::parse(packed.bytes()).unwrap();
        assert!(knock.is_for(&self.node()) && knock.mac_holds(&fleet));
        assert_eq!(knock.certificate(), certificate);
        assert!(knock.prove().is_ok());
        packed
    }

    /// One by the key's file and one by ssh-keygen, which has to be understood too.
    fn both_ways(&self) -> Packed {
        let certificate = self.certificate();
        let draft = self.draft(&certificate);
        self.proven(&draft, &self.signed_by_keygen(&draft, NAMESPACE));
        self.proven(&draft, &self.signed(&draft))
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

const ED25519: &[&str] = &["ed25519"];
const P256: &[&str] = &["ecdsa", "-b", "256"];
const P384: &[&str] = &["ecdsa", "-b", "384"];
const P521: &[&str] = &["ecdsa", "-b", "521"];
const RSA: &[&str] = &["rsa", "-b", "3072"];

#[test]
fn a_knock_by_ed25519_fits_in_a_datagram_with_room_to_spare() {
    let packed = Keys::make(ED25519, ED25519).both_ways();
    let len = packed.datagram().unwrap().len();
    assert!(len <= MAX_DATAGRAM - 200, "{len}");
}

#[test]
fn a_knock_by_ecdsa_fits_in_a_datagram() {
    for (user, ca) in [(P256, P256), (P384, P384), (P521, ED25519), (ED25519, P521)] {
        let packed = Keys::make(user, ca).both_ways();
        assert!(packed.datagram().is_some(), "{user:?} by {ca:?}: {}", packed.bytes().len());
    }
}

/// By ssh-keygen, and by an ssh-agent that is asked for one hash or the other.
#[test]
fn a_knock_by_rsa_goes_over_tcp() {
    let keys = Keys::make(RSA, RSA);
    let certificate = keys.certificate();
    let draft = keys.draft(&certificate);
    for signature in [
        keys.signed_by_keygen(&draft, NAMESPACE),
        keys.signed_by_rsa(&draft, "-sha256", b"rsa-sha2-256"),
        keys.signed_by_rsa(&draft, "-sha512", b"rsa-sha2-512"),
    ] {
        let packed = keys.proven(&draft, &signature);
        assert_eq!(packed.datagram(), None, "{}", packed.bytes().len());
    }
}

#[test]
fn a_signature_for_another_purpose_is_no_proof() {
    let keys = Keys::make(ED25519, ED25519);
    let certificate = keys.certificate();
    let draft = keys.draft(&certificate);
    let signature = keys.signed_by_keygen(&draft, "file");
    assert_eq!(draft.signed(&signature, None), Err(DraftError::Unproven(Unproven::Signature)));
}

#[test]
fn a_host_is_known_by_the_fingerprint_that_openssh_shows() {
    let keys = Keys::make(ED25519, ED25519);
    let shown = keys.keygen(&["-l", "-f", "host.pub"]);
    assert_eq!(shown.split(' ').nth(1).unwrap(), keys.node().to_string());
    assert_eq!(shown.split(' ').nth(1).unwrap().parse(), Ok(keys.node()));
    // A certificate's line is no key's.
    assert!(Fingerprint::of_line(&keys.read("user-cert.pub")).is_err());
}

/// As an ssh-agent signs that is not told otherwise.
#[test]
fn a_signature_with_sha_1_is_no_proof() {
    let keys = Keys::make(RSA, ED25519);
    let certificate = keys.certificate();
    let draft = keys.draft(&certificate);
    let signature = keys.signed_by_rsa(&draft, "-sha1", b"ssh-rsa");
    assert_eq!(signature.len(), 4 + 7 + 4 + 384);
    assert!(matches!(draft.signed(&signature, None), Err(DraftError::Unproven(Unproven::Kind(_)))));
    let signature = keys.signed_by_rsa(&draft, "-sha1", b"rsa-sha2-256");
    assert_eq!(draft.signed(&signature, None), Err(DraftError::Unproven(Unproven::Signature)));
}

/// Put together from the table in the crate's documentation by something else than this crate, and signed by ssh-keygen: what
/// a knock is does not change unnoticed.
#[test]
fn a_knock_is_what_it_always_was() {
    let bytes = &include_bytes!("../../fuzz/corpus/knock/keygen-proven")[1..];
    let host = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBdXdr/Gmj3swObWoV5hvw2tHy9KRzBRqZCvXNXoiHu";
    let knock = Knock::parse(bytes).unwrap();
    assert!(knock.is_for(&Fingerprint::of_line(host).unwrap()) && !knock.has_mac());
    assert_eq!((knock.time(), knock.nonce()), (TIME, std::array::from_fn(|at| u8::try_from(at).unwrap())));
    assert!(knock.prove().is_ok());
    let draft = Draft::new(knock.node(), knock.time(), knock.nonce(), knock.certificate());
    assert_eq!(draft.signed(knock.signature(), None).unwrap().bytes(), bytes);
}
