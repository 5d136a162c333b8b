//! A certificate for HTTPS of somebody else's making: clients and nodes trust it by the CA's file, and no other.

use anyhow::{Context, Result, ensure};
use lab::{AgentSetup, Authority, Client, Lab, NODE_V4, Place, eventually};
use serde_json::Value;

use super::{PASSWORD, output};

const FILES: &str = "[tls]\ncertificate = \"/root/tls/chain.pem\"\nkey = \"/root/tls/key.pem\"\n";

/// Two CAs, of which the first has signed a certificate for the node's address.
fn make(node: &Place) -> Result<()> {
    let script = format!(
        "mkdir -p /root/tls; cd /root/tls
         for ca in ca other; do
           openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
             -keyout $ca.key -out $ca.pem
         done
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -keyout key.pem -out request
         printf 'subjectAltName=IP:{NODE_V4}\\nextendedKeyUsage=serverAuth\\n' > extensions
         openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out leaf.pem
         cat leaf.pem ca.pem > chain.pem"
    );
    node.run("sh", &["-ec", &script]).map(drop)
}

/// An authority that shows such a certificate.
fn begin() -> Result<(Lab, Authority)> {
    let lab = Lab::start()?;
    AgentSetup::new("enforce").role("pinned-ip", &["pin_source_ip: true"]).write(&lab)?;
    make(lab.node())?;
    let authority = Authority::start(&lab, FILES)?;
    authority.add("alice", PASSWORD, &["--role", "pinned-ip"])?;
    Ok((lab, authority))
}

#[test]
fn a_client_logs_in_by_the_cas_file_and_not_by_another_ones() -> Result<()> {
    let (lab, authority) = begin()?;
    let client = Client::at(&lab.alice());
    let login = |ca: &str| {
        let url = authority.url();
        let arguments =
            ["login", "--authority", &url, "--user", "alice", "--ca-file", ca, "--password-stdin"];
        client.cotter_told(&arguments, PASSWORD)
    };
    let other = login("/root/tls/other.pem")?;
    ensure!(!other.status.success(), "another CA vouches for nobody here");
    ensure!(output(&other).contains("the CA file does not vouch for the certificate"), "{}", output(&other));
    let none = login("/root/tls/key.pem")?;
    ensure!(!none.status.success() && output(&none).contains("/root/tls/key.pem"), "{}", output(&none));
    let own = login("/root/tls/ca.pem")?;
    ensure!(own.status.success() && output(&own).contains("198.51.111.1/32"), "{}", output(&own));
    // It is remembered, by its whole path.
    let status = client.cotter(&["status", "--json"])?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    ensure!(status["observed"].to_string().contains("198.51.111.1"), "{status}");
    Ok(())
}

#[test]
fn a_certificate_and_a_key_that_do_not_go_together_are_refused_by_name() -> Result<()> {
    let (lab, authority) = begin()?;
    let wrong = FILES.replace("key.pem", "ca.key");
    authority.configure(&wrong)?;
    let checked = authority.told(&["config", "check"], "")?;
    assert_eq!(checked.status.code(), Some(2), "{}", output(&checked));
    ensure!(output(&checked).contains("TLS certificate cannot be used"), "{}", output(&checked));
    authority.configure(&FILES.replace("chain.pem", "none.pem"))?;
    let checked = authority.told(&["config", "check"], "")?;
    ensure!(output(&checked).contains("/root/tls/none.pem"), "{}", output(&checked));
    drop(lab);
    Ok(())
}

#[test]
fn a_node_follows_by_the_cas_file_and_not_by_another_ones() -> Result<()> {
    let (lab, authority) = begin()?;
    let table = format!("url = \"{}\"\nkey = \"{}\"", authority.url(), authority.policy_key()?);
    let setup = AgentSetup::new("enforce").line("roles_dir = \"/etc/cotter/own-roles.d\"");
    let agent =
        setup.last(&format!("\n[authority]\n{table}\nca_file = \"/root/tls/other.pem\"")).start(&lab)?;
    let following = || -> Result<Value> { Ok(agent.json(&["status"])?["following"].clone()) };
    let error = eventually("the other CA's word is refused", || {
        Ok(following()?["error"].as_str().map(str::to_owned))
    })?;
    ensure!(error.contains("the CA file does not vouch for the certificate"), "{error}");
    ensure!(following()?["version"].is_null(), "nothing is followed");
    lab.node().run("sed", &["-i", "s/other.pem/ca.pem/", "/etc/cotter/agent.toml"])?;
    agent.signal(rustix::process::Signal::HUP)?;
    let version = eventually("the policy is in force", || Ok(following()?["version"].as_u64()))?;
    ensure!(version > 0, "{version}");
    following()?["cluster"].as_str().filter(|it| *it == "example.com").context("another cluster").map(drop)
}

/// As docs/running-an-authority.md has it.
#[test]
fn an_sshd_that_follows_nobody_gets_the_keys_by_curl() -> Result<()> {
    let (lab, authority) = begin()?;
    let script = format!(
        "curl --silent --show-error --fail --cacert /root/tls/ca.pem {}/v1/ca | jq -r '.user_ca[]' > /root/user_ca.pub",
        authority.url()
    );
    lab.node().run("sh", &["-ec", &script])?;
    assert_eq!(lab.node().read("/root/user_ca.pub")?, authority.run(&["ca", "export"])?);
    let told = lab
        .node()
        .run("curl", &["-sS", "--cacert", "/root/tls/ca.pem", &format!("{}/v1/ca", authority.url())])?;
    let cotter_api::UserCa { cluster, .. } = serde_json::from_str(&told)?;
    assert_eq!(cluster, "example.com");
    Ok(())
}
