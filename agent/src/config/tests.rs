//! Every error of a configuration names file, line and column.

use super::{Config, ConfigError, load};
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
        ("\nnever_drop = [\"10.0.0.0/8\", \"10.0.0/8\"]", "agent.toml:3:29: \"10.0.0/8\" is neither"),
        ("[penalties]\nseconds = 100000", "agent.toml:2:1: [penalties] counts in 1 to 3600 seconds"),
    ] {
        let error = Setup::new(text).error();
        assert!(error.starts_with(expected), "{text}\n  {error}\n  {expected}");
    }
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
