//! `init`: what an authority needs to begin, and what others need to know of it.

use serde_json::json;

use super::{Common, Failure};
use crate::audit::{Subject, What};
use crate::ca::{self, CaKeys, KeySource};
use crate::files;
use crate::policy::PolicySigner;
use crate::tls::Tls;

pub(super) async fn init(common: &Common) -> Result<(), Failure> {
    let state_dir = common.load()?.state_dir;
    files::make_directory(&state_dir)
        .map_err(|error| Failure::unavailable(format!("{}: {error}", state_dir.display())))?;
    let (config, _store) = common.open().await?;
    // Others are brought by whoever named them.
    if let [KeySource::File(only)] = &config.ca_keys[..]
        && !only.exists()
    {
        let key = ca::make(only, &format!("{} user CA", config.name)).map_err(Failure::refused)?;
        let ca = Some(key.fingerprint(ssh_key::HashAlg::Sha256).to_string());
        let subject = Subject { ca, ..Subject::default() };
        common.audit(&config)?.write(What::CaKeyMade { file: only.clone() }, subject);
    }
    let keys = CaKeys::load(&config.ca_keys).map_err(Failure::usage)?;
    let tls = Tls::load(&config).map_err(Failure::usage)?;
    let signer = PolicySigner::load_or_make(&config.state_dir, &config.name).map_err(Failure::usage)?;
    let policy_key = signer.public_line().map_err(Failure::refused)?;
    let lines = keys.public_lines().map_err(Failure::refused)?;
    if common.json {
        let lines: Vec<&str> = lines.lines().collect();
        println!(
            "{}",
            json!({
                "cluster": config.name, "fingerprint": tls.fingerprint, "user_ca": lines, "policy_key": policy_key,
            })
        );
        return Ok(());
    }
    println!("Clients log in with this fingerprint:\n  {}", tls.fingerprint);
    println!("Nodes trust these keys (user_ca in agent.toml, TrustedUserCAKeys of sshd):");
    lines.lines().for_each(|line| println!("  {line}"));
    println!(
        "Nodes that follow this authority know its policy by this key (key of [authority] in agent.toml):"
    );
    println!("  {policy_key}");
    println!("Then: cotter-authority user add NAME --role ROLE; cotter-authority run");
    Ok(())
}
