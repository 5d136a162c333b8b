//! Certificates of other programs (`tests/interop`), with a real sshd and a real agent.

use anyhow::{Result, ensure};
use lab::{Agent, AgentSetup, Ca, Identity, Lab, Login, SshdSetup};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/", $name, ".pub"))
    };
}

const OPEN: &str = "roles_from = \"default\"\ndefault_roles = [\"open\"]";
const TELEPORT: &str = "roles_from = \"teleport\"";

/// Clusters: their name, their authority's keys, where their roles come from.
const CLUSTERS: [(&str, &[&str], &str); 4] = [
    (
        "keygen",
        &[file!("keygen-ed25519"), file!("keygen-ecdsa256"), file!("keygen-ecdsa521"), file!("keygen-rsa")],
        OPEN,
    ),
    (
        "openbao",
        &[file!("openbao-ed25519"), file!("openbao-ssh-rsa"), file!("openbao-ecdsa-sha2-nistp256")],
        OPEN,
    ),
    ("step", &[file!("step-ecdsa256")], OPEN),
    ("teleport", &[file!("teleport-ed25519"), file!("teleport-rsa")], TELEPORT),
];

/// Certificates with which alice gets in from her address, of their clusters, and whether they pin her to it.
const GOOD: [(&str, &str, bool); 15] = [
    (file!("keygen-by-ed25519-cert"), "keygen", false),
    (file!("keygen-by-ecdsa256-cert"), "keygen", false),
    (file!("keygen-by-ecdsa521-cert"), "keygen", false),
    (file!("keygen-by-rsa-cert"), "keygen", false),
    (file!("keygen-permit-cert"), "keygen", false),
    (file!("keygen-forever-cert"), "keygen", false),
    (file!("keygen-pinned-list-cert"), "keygen", true),
    (file!("openbao-by-ed25519-cert"), "openbao", false),
    (file!("openbao-by-ssh-rsa-cert"), "openbao", false),
    (file!("openbao-by-ecdsa-sha2-nistp256-cert"), "openbao", false),
    (file!("openbao-pinned-cert"), "openbao", true),
    (file!("step-default-cert"), "step", false),
    (file!("step-pinned-cert"), "step", true),
    (file!("teleport-by-ed25519-cert"), "teleport", true),
    (file!("teleport-by-rsa-cert"), "teleport", true),
];

/// Certificates with which she does not, and why.
const BAD: [(&str, &str); 4] = [
    (file!("teleport-unpinned-cert"), "pin_missing"),
    (file!("teleport-no-roles-cert"), "no_roles"),
    (file!("keygen-own-critical-cert"), "critical_option_unknown"),
    (file!("keygen-expired-cert"), "certificate_expired"),
];

/// The key that all of them are for.
fn identity(lab: &Lab) -> Result<Identity> {
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&[7; 32]));
    let identity = Identity { key: "/root/interop".to_owned() };
    lab.node().write(&identity.key, &PrivateKey::new(pair, "")?.to_openssh(LineEnding::LF)?)?;
    lab.node().run("chmod", &["600", &identity.key])?;
    lab.node().write(identity.public(), file!("user"))?;
    Ok(identity)
}

/// Tries a login that must be refused for this reason.
fn is_refused(agent: &Agent, login: &Login, reason: &str) -> Result<()> {
    let mark = agent.mark()?;
    let output = login.run("echo in")?;
    ensure!(!output.status.success(), "{reason}: the login was let in");
    agent.event_since(mark, reason, |event| event["event"] == "login_denied" && event["reason"] == reason)?;
    Ok(())
}

#[test]
fn certificates_of_other_programs_get_their_users_in_and_hold_them_to_their_pins() -> Result<()> {
    let lab = Lab::start()?;
    let agent = AgentSetup::new("enforce").role("open", &[]).role("pinned-ip", &["pin_source_ip: true"]);
    let authorities: Vec<(&str, Ca, &str)> = CLUSTERS
        .iter()
        .map(|(name, keys, rest)| Ok((*name, Ca::known(lab.node(), name, &keys.concat())?, *rest)))
        .collect::<Result<_>>()?;
    let agent =
        authorities.iter().try_fold(agent, |agent, (name, ca, rest)| agent.cluster(name, ca, rest))?;
    let agent = agent.start(&lab)?;
    let sshd = SshdSetup::with_cotter(&authorities[0].1)?;
    let sshd = authorities[1..].iter().try_fold(sshd, |sshd, (_, ca, _)| sshd.and(ca))?;
    let _sshd = sshd.start(&lab)?;
    let identity = identity(&lab)?;
    let at_alice = Login::new(&lab.alice(), &identity, "alice");
    let elsewhere = Login::new(&lab.elsewhere(), &identity, "alice");

    for (certificate, cluster, pinned) in GOOD {
        lab.node().write(identity.certificate(), certificate)?;
        let mark = agent.mark()?;
        assert_eq!(at_alice.succeed("echo in")?, "in\n", "{certificate}");
        agent.event_since(mark, cluster, |event| {
            event["event"] == "login_allowed" && event["cluster"] == cluster
        })?;
        if pinned {
            is_refused(&agent, &elsewhere, "pin_mismatch")?;
        }
    }
    for (certificate, reason) in BAD {
        lab.node().write(identity.certificate(), certificate)?;
        is_refused(&agent, &at_alice, reason)?;
    }
    Ok(())
}
