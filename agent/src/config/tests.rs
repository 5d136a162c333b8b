//! Every error of a configuration names file, line and column.

use super::{Config, ConfigError, FollowError, Followed, Gate, load};
use cotter_api::{PolicyDocument, RoleFile, Rules, SignedPolicy};
use ssh_key::PrivateKey;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use std::path::PathBuf;
use tempfile::TempDir;

/// An Ed25519 key that nobody has the other half of.
const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8h1RkVJBMpHJeYpTdB8gxVRW2sJ+7mkCwnTjYp1Yk0 test";
const ROLE: &str = "kind: role\nversion: v7\nmetadata:\n  name: pinned-ip\n";

/// A directory with a configuration in it.
struct Setup(TempDir);

impl Setup {
    fn new(agent_toml: &str) -> Self {
        let setup = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(setup.path("roles.d")).unwrap();
        std::fs::create_dir(setup.path("agent.d")).unwrap();
        let roles_dir = format!("roles_dir = {:?}\n", setup.path("roles.d"));
        let text = agent_toml.replace("CA", setup.path("ca.pub").to_str().unwrap());
        setup
            .with("ca.pub", CA)
            .with("roles.d/pinned.yaml", ROLE)
            .with("agent.toml", &format!("{roles_dir}{text}"))
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load(&self.path("agent.toml"))
    }

    /// `name:line:column: message` of the error.
    fn error(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn cluster(rest: &str) -> String {
    format!("[[cluster]]\nname = \"a\"\nuser_ca = \"CA\"\nroles_from = \"default\"\n{rest}\n")
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_manual() {
    let config = Setup::new("").load().unwrap();
    assert_eq!(config.mode, pinning::Mode::Audit);
    assert_eq!(config.login_ports, [22]);
    assert_eq!(config.interfaces, super::Interfaces::Auto);
    assert_eq!(config.runtime_dir, PathBuf::from("/run/cotter"));
    assert_eq!(config.hash.len(), 64);
}

#[test]
fn later_files_overrule_scalars_and_add_clusters() {
    let setup = Setup::new(&format!("mode = \"audit\"\n{}", cluster("default_roles = [\"pinned-ip\"]")));
    let setup = setup.with("agent.d/10-more.toml", "mode = \"enforce\"\nnever_drop = [\"192.0.2.9\"]\n");
    let config = setup.load().unwrap();
    assert_eq!(config.mode, pinning::Mode::Enforce);
    assert_eq!(config.never_drop, ["192.0.2.9/32".parse().unwrap()]);
    assert_eq!(config.policy.clusters().len(), 1);
}

#[test]
fn errors_name_file_line_and_column() {
    for (text, expected) in [
        ("mode = \"strict\"", "agent.toml:2:8: unknown variant"),
        ("moode = \"audit\"", "agent.toml:2:1: unknown field `moode`"),
        ("mode = ", "agent.toml:2:8: "),
        ("interfaces = \"all\"", "agent.toml:2:14: `interfaces` is \"auto\" or a list of names"),
        ("interfaces = []", "agent.toml:2:14: `interfaces` is an empty list"),
        ("login_ports = []", "agent.toml:2:15: `login_ports` is empty"),
        ("login_ports = [22, 0]", "agent.toml:2:15: `login_ports` has port 0"),
        ("login_ports = [70000]", "agent.toml:2:16: invalid value"),
        ("login_grace_time = 0", "agent.toml:2:20: `login_grace_time` is 1 to 3600"),
        ("max_sessions = 0", "agent.toml:2:16: `max_sessions` is 1 to"),
        ("max_sessions_per_person = 0", "agent.toml:2:27: `max_sessions_per_person` is 1 to"),
        ("\nnever_drop = [\"10.0.0.0/8\", \"10.0.0/8\"]", "agent.toml:3:29: \"10.0.0/8\" is neither"),
        ("[penalties]\nseconds = 100000", "agent.toml:2:1: [penalties] counts in 1 to 3600 seconds"),
    ] {
        let error = Setup::new(text).error();
        assert!(error.starts_with(expected), "{text}\n  {error}\n  {expected}");
    }
}

#[test]
fn gates_have_their_ports_protocols_and_roles() {
    let text = "[[gate]]\nports = [5432, \"8000-8002\", 8001]\n[[gate]]\nports = [53]\nprotocol = \"any\"\n\
                roles = [\"pinned-ip\"]\n";
    let gates = Setup::new(text).load().unwrap().gates;
    let ports = |gate: &Gate| gate.ports().map(|(protocol, port)| (protocol as u8, port)).collect::<Vec<_>>();
    assert_eq!(ports(&gates[0]), [(6, 5432), (6, 8000), (6, 8001), (6, 8002)]);
    assert_eq!(ports(&gates[1]), [(6, 53), (17, 53)]);
    assert!(gates[0].opens_to(&[]) && gates[1].opens_to(&["x".into(), "pinned-ip".into()]));
    assert!(!gates[1].opens_to(&["x".into()]));
    // An administrator's address is a way in.
    let dark = "never_drop = [\"192.0.2.9\"]\n[[gate]]\nports = [22]\n";
    assert_eq!(Setup::new(dark).load().unwrap().gates.len(), 1);
}

#[test]
fn errors_in_gates_name_their_place() {
    for (lines, expected) in [
        ("ports = []", "agent.toml:3:9: `ports` of a gate is empty"),
        ("ports = [0]", "agent.toml:3:9: a gate has port 0"),
        ("ports = [\"9-1\"]", "agent.toml:3:9: \"9-1\" is not a range of ports"),
        ("ports = [70000]", "agent.toml:3:9: "),
        ("ports = [\"1000-6000\"]", "agent.toml:2:1: there are at most 64 gates, with 4096 ports in all"),
        ("ports = [1]\nroles = []", "agent.toml:2:1: `roles` of a gate is an empty list"),
        ("ports = [1]\nroles = [\"gone\"]", "agent.toml:4:10: role \"gone\" of a gate is in no file"),
        ("ports = [1]\nprotocol = \"sctp\"", "agent.toml:4:12: unknown variant"),
        ("ports = [21, 22]", "agent.toml:3:9: nobody could log in: port 22 is a login port"),
    ] {
        let error = Setup::new(&format!("[[gate]]\n{lines}")).error();
        assert!(error.starts_with(expected), "{lines}\n  {error}\n  {expected}");
    }
    let many = "[[gate]]\nports = [1]\n".repeat(65);
    assert!(Setup::new(&many).error().starts_with("agent.toml:130:1: there are at most 64 gates"));
}

#[test]
fn errors_about_clusters_name_the_place_too() {
    for (text, expected) in [
        (cluster(""), "agent.toml:3:8: cluster \"a\" takes its roles from default_roles, which is empty"),
        (
            cluster("default_roles = [\"gone\"]"),
            "agent.toml:3:8: cluster \"a\": default_roles gives role \"gone\"",
        ),
        (cluster("role_map = []"), "agent.toml:6:12: only a [[trusted_cluster]] has a role_map"),
        (cluster("surplus = 1"), "agent.toml:6:1: unknown field `surplus`"),
        (
            cluster("").replace("CA", "/nowhere/ca.pub"),
            "agent.toml:4:11: user_ca /nowhere/ca.pub: cannot be read",
        ),
        (
            cluster("").replace("[[cluster]]", "[[trusted_cluster]]"),
            "agent.toml:2:1: a trusted cluster must have",
        ),
    ] {
        let error = Setup::new(&text).error();
        assert!(error.starts_with(expected), "{text}\n  {error}\n  {expected}");
    }
    let twice = cluster("default_roles = [\"pinned-ip\"]");
    let second = twice.replace("name = \"a\"", "name = \"b\"");
    let error = Setup::new(&format!("{twice}{second}")).error();
    assert!(error.starts_with("agent.toml:8:8: the CA key SHA256:"), "{error}");
}

/// A public host key, and as its fingerprint `ssh-keygen -l` shows.
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqK root@node1\n";
/// As `openssl rand -base64 32` makes them.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

fn knocked_at(rest: &str) -> Setup {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new("").with("host.pub", HOST_KEY).with("secret", SECRET);
    std::fs::set_permissions(setup.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let rest = rest.replace("DIR", setup.0.path().to_str().unwrap());
    setup.with("agent.d/knock.toml", &format!("[knock]\n{rest}\n"))
}

#[test]
fn where_it_is_knocked_at_is_said_in_a_table() {
    let setup =
        knocked_at("port = 4022\ntcp = true\nsecret = \"DIR/secret\"\nhost_keys = [\"DIR/host.pub\"]");
    let config = setup.load().unwrap();
    let knocks = config.knocks.unwrap();
    assert_eq!((knocks.port, knocks.tcp, knocks.secret.is_some()), (4022, true, true));
    assert_eq!(knocks.host_keys, [cotter_knock::Fingerprint::of_line(HOST_KEY).unwrap()]);
    for file in ["secret", "host.pub"] {
        assert!(config.files.contains(&setup.path(file)), "whether {file} is root's is looked at");
    }
    let least = knocked_at("port = 1").load().unwrap().knocks.unwrap();
    assert!(!least.tcp && least.secret.is_none());
    assert!(Setup::new("").load().unwrap().knocks.is_none());
}

#[test]
fn a_login_port_may_have_a_gate_where_knocks_open_it_and_where_knocks_are_heard_there_is_none() {
    let dark = knocked_at("port = 4022\n[[gate]]\nports = [22]").load().unwrap();
    assert_eq!(dark.gates.len(), 1);
    for (rest, shut) in [("protocol = \"udp\"", true), ("protocol = \"any\"", true), ("", false)] {
        let setup = knocked_at(&format!("port = 4022\n[[gate]]\nports = [4000, 4022]\n{rest}"));
        let expected = "agent.d/knock.toml:4:9: port 4022 is where knocks are heard";
        assert_eq!(
            setup.load().is_err_and(|error| error
                .to_string()
                .ends_with("which are for those who have no session yet")),
            shut,
            "{rest}"
        );
        assert!(!shut || setup.error().starts_with(expected), "{}", setup.error());
    }
    assert!(knocked_at("port = 4022\ntcp = true\n[[gate]]\nports = [4022]").load().is_err());
}

#[test]
fn errors_about_knocks_name_the_place() {
    for (rest, expected) in [
        ("tcp = true", "1:1: missing field `port`"),
        ("port = 0", "2:8: `port` is 0"),
        ("port = 70000", "2:8: invalid value"),
        ("port = 1\nsecrets = \"x\"", "3:1: unknown field `secrets`"),
        ("port = 1\nsecret = \"DIR/gone\"", "3:10: secret gone: cannot be read"),
        ("port = 1\nsecret = \"DIR/host.pub\"", "3:10: secret host.pub: must be for root's eyes alone"),
        ("port = 1\nhost_keys = []", "3:13: `host_keys` names 1 to 16 files, not 0"),
        ("port = 1\nhost_keys = [\"DIR/gone\"]", "3:14: host key gone: cannot be read"),
        (
            "port = 1\nhost_keys = [\"DIR/secret\"]",
            "3:14: host key secret: not a line of an OpenSSH public key",
        ),
    ] {
        let error = knocked_at(rest).error();
        assert!(
            error.starts_with(&format!("agent.d/knock.toml:{expected}")),
            "{rest}\n  {error}\n  {expected}"
        );
    }
    let setup = knocked_at("port = 1\nsecret = \"DIR/secret\"").with("secret", "short\n");
    assert!(setup.error().contains("secret: its 5 characters are not the 44 of base64"), "{}", setup.error());
}

#[test]
fn errors_in_roles_and_keys_name_their_own_files() {
    let setup = Setup::new("")
        .with("roles.d/broken.yaml", &format!("{ROLE}spec:\n  options:\n    pin_sourceip: true\n"));
    assert!(setup.error().starts_with("roles.d/broken.yaml:7:5: "), "{}", setup.error());
    let setup = Setup::new("").with("roles.d/twice.yaml", ROLE);
    assert!(
        setup.error().starts_with("roles.d/twice.yaml:1:1: role \"pinned-ip\" is there twice"),
        "{}",
        setup.error()
    );
    let setup =
        Setup::new(&cluster("default_roles = [\"pinned-ip\"]")).with("ca.pub", "ssh-ed25519 nonsense\n");
    assert!(setup.error().starts_with("ca.pub: line 1: "), "{}", setup.error());
}

#[test]
fn fields_without_effect_are_listed_and_no_error() {
    let role = format!("{ROLE}spec:\n  options:\n    forward_agent: true\n").replace("pinned-ip", "old");
    let config = Setup::new("").with("roles.d/old.yaml", &role).load().unwrap();
    let unused: Vec<_> = config.unused.iter().map(|field| (field.line, field.field.as_str())).collect();
    assert_eq!(unused, [(7, "spec.options.forward_agent")]);
}

#[test]
fn any_change_of_any_file_changes_the_hash() {
    let setup = Setup::new(&cluster("default_roles = [\"pinned-ip\"]"));
    let first = setup.load().unwrap().hash;
    assert_eq!(first, setup.load().unwrap().hash);
    let setup = setup.with("roles.d/pinned.yaml", &format!("{ROLE}# changed\n"));
    assert_ne!(first, setup.load().unwrap().hash);
}

#[test]
fn what_others_can_write_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new("");
    let role = setup.path("roles.d/pinned.yaml");
    std::fs::set_permissions(&role, std::fs::Permissions::from_mode(0o664)).unwrap();
    let error = super::load_trusted(&setup.path("agent.toml")).unwrap_err().to_string();
    assert!(error.contains("roles.d/pinned.yaml") || error.contains("must be root's"), "{error}");
}

/// A key that signs policies, and what it is known by.
fn signer() -> (PrivateKey, String) {
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[7; 32])), "").unwrap();
    let line = key.public_key().to_openssh().unwrap();
    (key, line)
}

fn following(rest: &str) -> String {
    format!("[authority]\nurl = \"https://192.0.2.1\"\nkey = \"{}\"\n{rest}\n", signer().1)
}

/// A policy of cluster `name` with this version, the role `pinned-ip` and another.
fn policy(name: &str, version: u64) -> SignedPolicy {
    let role = |name: &str| RoleFile { name: "a.yaml".into(), text: ROLE.replace("pinned-ip", name) };
    let rules = Rules::new(vec![CA.into()], vec![role("pinned-ip"), role("other")], Vec::new());
    let (rules, locks) = (rules.raw().unwrap(), Vec::new());
    let document = PolicyDocument { cluster: name.into(), version, issued_at: 1, rules, locks };
    SignedPolicy::sign(&document, &signer().0).unwrap()
}

fn verified(config: &Config, signed: SignedPolicy) -> Result<Followed, FollowError> {
    Followed::verify(signed, config.authority.as_ref().unwrap())
}

#[test]
fn what_is_wrong_with_an_authority_is_told_at_its_place() {
    let key = signer().1;
    let line = |rest: &str| Setup::new(&format!("[authority]\n{rest}")).error();
    for (rest, expected) in [
        ("key = \"KEY\"", "agent.toml:2:1: missing field `url`"),
        ("url = \"http://a\"\nkey = \"KEY\"", "agent.toml:3:7: \"http://a\" is no address of an authority"),
        ("url = \"a\"\nkey = \"ssh-rsa AAAA\"", "agent.toml:4:7: no public key of a policy"),
        ("url = \"a\"\nkey = []", "agent.toml:4:7: `key` is an empty list"),
        ("url = \"a\"\nkey = [\"KEY\"]\nfingerprint = \"7\"", "agent.toml:5:15: no fingerprint"),
        ("url = \"a\"\nkey = \"KEY\"\nca_file = \"/none\"", "agent.toml:5:11: /none: no PEM certificates"),
    ] {
        let found = line(&rest.replace("KEY", &key));
        assert!(found.starts_with(expected), "{rest}: {found}");
    }
}

#[test]
fn what_the_nodes_own_files_name_is_theirs_and_the_rest_is_the_authoritys() {
    let setup = Setup::new(&following(""));
    let config = setup.load().unwrap();
    let followed = config.follow(verified(&config, policy("example.com", 1)).unwrap().into()).unwrap();
    assert_eq!(followed.left_out, ["role pinned-ip"]);
    let [cluster] = followed.policy.clusters() else { panic!("one cluster") };
    assert_eq!((cluster.name.as_str(), cluster.on_expiry), ("example.com", pinning::OnExpiry::Cut));
    assert!(followed.policy.role("other").is_some());
    assert_ne!(followed.hash, config.hash);

    let own = following("on_expiry = \"keep\"") + &cluster_of("a", "default_roles = [\"pinned-ip\"]");
    let config = Setup::new(&own).load().unwrap();
    let followed = config.follow(verified(&config, policy("a", 1)).unwrap().into()).unwrap();
    assert_eq!(followed.left_out, ["cluster a", "role pinned-ip"]);
    let error = config.follow(verified(&config, policy("b", 1)).unwrap().into()).unwrap_err().to_string();
    assert!(error.contains("is in cluster \"a\" and in cluster \"b\""), "one key in two clusters: {error}");
}

/// The same as [`cluster`], whatever its name.
fn cluster_of(name: &str, rest: &str) -> String {
    cluster(rest).replacen("\"a\"", &format!("{name:?}"), 1)
}

#[test]
fn a_policy_succeeds_only_one_of_its_cluster_with_a_lower_version() {
    let config = Setup::new(&following("")).load().unwrap();
    let of = |name, version| verified(&config, policy(name, version)).unwrap();
    assert_eq!(of("c", 3).is_newer_than(&of("c", 2)), Ok(true));
    assert_eq!(of("c", 3).is_newer_than(&of("c", 3)), Ok(false));
    assert_eq!(of("c", 2).is_newer_than(&of("c", 3)), Err(FollowError::Lower(2, 3)));
    assert_eq!(of("d", 4).is_newer_than(&of("c", 3)), Err(FollowError::OtherCluster("d".into(), "c".into())));
    let fixed = Setup::new(&following("cluster = \"c\"")).load().unwrap();
    assert!(verified(&fixed, policy("c", 1)).is_ok());
    assert!(matches!(verified(&fixed, policy("d", 1)), Err(FollowError::OtherCluster(..))));
}

#[test]
fn a_policy_that_was_kept_counts_again_unless_somebody_has_touched_it() {
    let setup = Setup::new("state_dir = \"STATE\"\n");
    let toml = std::fs::read_to_string(setup.path("agent.toml")).unwrap() + &following("");
    let state = setup.path("");
    let setup = setup.with("agent.toml", &toml.replace("STATE", state.to_str().unwrap()));
    let config = setup.load().unwrap();
    assert!(config.followed.is_none() && config.follow_error.is_none());
    let followed = verified(&config, policy("example.com", 5)).unwrap();
    config.follow(std::sync::Arc::new(followed)).unwrap().keep_followed().unwrap();
    let again = setup.load().unwrap();
    assert_eq!(again.followed.as_ref().unwrap().document.version, 5);
    assert_eq!(again.policy.clusters().len(), 1);
    assert_eq!(again.user_ca_files, [super::user_ca_file(&config.state_dir)]);
    again.write_user_ca().unwrap();
    let keys = std::fs::read_to_string(super::user_ca_file(&config.state_dir)).unwrap();
    assert_eq!(keys.trim(), CA.trim_end_matches(" test"));

    let kept = setup.path("authority/policy.json");
    let whole = std::fs::read_to_string(&kept).unwrap();
    for touched in [whole.replace("example.com", "example.org"), whole[..99].to_owned(), String::new()] {
        std::fs::write(&kept, touched).unwrap();
        let damaged = setup.load().unwrap();
        assert!(damaged.followed.is_none() && damaged.follow_error.is_some());
        assert!(damaged.policy.clusters().is_empty());
    }
}

#[test]
fn relay_ports_stand_beside_sshds_and_believe_somebody_but_not_everybody() {
    let table = |rest: &str| format!("login_ports = [22, 2200]\n[[relay_port]]\nport = 2222\n{rest}\n");
    let good = table("trusted_proxies = [\"192.0.2.7/24\", \"2001:db8::1\"]");
    let config = Setup::new(&good).load().unwrap();
    let [port] = config.relay_ports.as_slice() else { panic!("{:?}", config.relay_ports) };
    assert_eq!((port.port, port.login_port), (2222, 22));
    assert_eq!(
        port.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.0/24", "2001:db8::1/128"]
    );
    assert_eq!(config.ways_in(), [22, 2200, 2222]);
    for (rest, said) in [
        ("trusted_proxies = []", "names 1 to 256 balancers, not 0"),
        ("trusted_proxies = [\"0.0.0.0/0\"]", "trusts everybody"),
        ("trusted_proxies = [\"haproxy\"]", "\"haproxy\""),
        ("trusted_proxies = [\"192.0.2.7\"]\nlogin_port = 23", "is none of `login_ports`"),
    ] {
        let error = Setup::new(&table(rest)).error();
        assert!(error.contains(said), "{rest}: {error}");
    }
    for (port, said) in [("0", "is 0"), ("22", "one of `login_ports`")] {
        let error = Setup::new(&good.replace("2222", port)).error();
        assert!(error.contains(said), "{port}: {error}");
    }
    let beside = |text: &str| Setup::new(&format!("{good}\n{text}")).error();
    assert!(beside("[[gate]]\nports = [\"1024-65535\"]").contains("port 2222 is a [[relay_port]]"));
    assert!(beside("[knock]\nport = 2222\ntcp = true").contains("where knocks are heard"));
    let twice = format!("{good}{}", &good[good.find("[[").unwrap()..]);
    assert!(Setup::new(&twice).error().contains("a relay port already"));
}

#[test]
fn trusted_relays_have_a_name_a_key_and_addresses_of_their_own() {
    let relay = |name: &str, key: &str, addresses: &str| {
        format!("[[trusted_relay]]\nname = {name:?}\nkey = {key:?}\naddresses = [{addresses}]\n")
    };
    let good = relay("bastion", CA, "\"192.0.2.7\"");
    let config = Setup::new(&good).load().unwrap();
    assert!(config.trusted_relays[0].is_at("192.0.2.7".parse().unwrap()));
    assert!(!config.trusted_relays[0].is_at("192.0.2.8".parse().unwrap()));
    for (text, said) in [
        (relay("", CA, "\"192.0.2.7\""), "`name`"),
        (relay("two words", CA, "\"192.0.2.7\""), "`name`"),
        (relay("bastion", "ssh-rsa AAAA", "\"192.0.2.7\""), "no public key of a relay"),
        (relay("bastion", CA, ""), "`addresses`"),
        (relay("bastion", CA, "\"::/0\""), "trusts everybody"),
        (format!("{good}{good}"), "there is a relay \"bastion\" already"),
        (format!("{good}{}", relay("other", CA, "\"192.0.2.0/24\"")), "one address, one key"),
    ] {
        let error = Setup::new(&text).error();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_bastion_vouches_to_the_nodes_that_are_named() {
    let config = Setup::new("[vouch]\nnodes = [\"192.0.2.0/24\", \"2001:db8::7\"]\n").load().unwrap();
    let vouching = config.vouching.unwrap();
    assert_eq!((vouching.nodes.len(), vouching.ports), (2, vec![22]));
    for (text, why) in [
        ("[vouch]\nnodes = []\n", "1 to 256 networks"),
        ("[vouch]\nnodes = [\"0.0.0.0/0\"]\n", "trusts everybody"),
        ("[vouch]\nnodes = [\"192.0.2.1\"]\nports = []\n", "1 to 16 ports"),
        ("[vouch]\nnodes = [\"192.0.2.1\"]\nports = [0]\n", "and not 0"),
    ] {
        let error = Setup::new(text).error();
        assert!(error.contains(why), "{text}: {error}");
    }
}
