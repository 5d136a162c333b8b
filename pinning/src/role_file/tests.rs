//! Role files: what loads, what does not, and where errors point.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Role {
    let mut roles = Role::parse_all(text).unwrap();
    assert_eq!(roles.len(), 1);
    roles.remove(0)
}

fn with_options(options: &str) -> Result<RoleOptions, String> {
    let text = format!("kind: role\nversion: v7\nmetadata:\n  name: r\nspec:\n  options:\n    {options}\n");
    let roles = Role::parse_all(&text).map_err(|error| error.to_string())?;
    Ok(roles.into_iter().next().unwrap().options)
}

fn error(text: &str) -> String {
    Role::parse_all(text).unwrap_err().to_string()
}

/// A role as Teleport's documentation and `tctl get` write them.
const WELL_KNOWN: &str = r#"
kind: role
version: v7
metadata:
  name: example
  description: This is an example role.
  labels: { team: ops, any: thing }
  expires: "2030-01-01T00:00:00Z"
  revision: 8c2ab1c7
spec:
  options:
    max_session_ttl: 8h0m0s
    forward_agent: true
    ssh_port_forwarding:
      remote: { enabled: true }
    cert_format: standard
    client_idle_timeout: 15m
    disconnect_expired_cert: no
    pin_source_ip: true
    record_session: { default: best_effort, desktop: true }
    create_host_user_mode: keep
    enhanced_recording: [command, network]
    require_session_mfa: true
    lock: strict
    cert_extensions:
      - { type: ssh, mode: extension, name: login@github.com, value: '{{external.github_login}}' }
  allow:
    logins: [root, '{{internal.logins}}', ubuntu]
    node_labels: { '*': '*' }
    rules:
      - resources: [role]
        verbs: [list, read]
        where: contains(user.spec.traits["group"], "admins")
  deny:
    logins: [guest]
    node_labels:
"#;

#[test]
fn a_well_known_role_file_loads_unchanged() {
    let role = one(WELL_KNOWN);
    assert_eq!(role.name, "example");
    assert_eq!(role.line, 2);
    assert!(role.options.pin_source_ip && !role.options.disconnect_expired_cert);
    assert_eq!(role.options.max_session_ttl, Some(Duration::from_secs(8 * 3600)));
    assert_eq!(role.options.pin_width, PinWidth::default());
    assert_eq!(role.allow_logins.unwrap().len(), 3);
    assert_eq!(role.deny_logins, [LoginPattern::Literal("guest".into())]);
}

#[test]
fn fields_without_effect_are_listed_with_their_places() {
    let unused = one(WELL_KNOWN).without_effect;
    let fields: Vec<_> = unused.iter().map(|unused| unused.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "metadata.description",
            "metadata.labels",
            "metadata.expires",
            "metadata.revision",
            "spec.options.forward_agent",
            "spec.options.ssh_port_forwarding",
            "spec.options.cert_format",
            "spec.options.client_idle_timeout",
            "spec.options.record_session",
            "spec.options.create_host_user_mode",
            "spec.options.enhanced_recording",
            "spec.options.require_session_mfa",
            "spec.options.lock",
            "spec.options.cert_extensions",
            "spec.allow.node_labels",
            "spec.allow.rules",
            "spec.deny.node_labels",
        ]
    );
    assert_eq!((unused[4].line, unused[4].column), (13, 5));
}

#[test]
fn every_option_with_an_effect_is_read() {
    let options = with_options(
        "{pin_source_ip: true, pin_width: {ipv4: 24, ipv6: 64}, max_session_ttl: 30m, disconnect_expired_cert: yes, \
         on_new_address: cut, pin_endpoints: udp, require_second_factor: true, mode: audit}",
    );
    assert_eq!(
        options.unwrap(),
        RoleOptions {
            pin_source_ip: true,
            pin_width: PinWidth { ipv4: 24, ipv6: 64 },
            max_session_ttl: Some(Duration::from_secs(1800)),
            disconnect_expired_cert: true,
            on_new_address: Some(OnNewAddress::Cut),
            pin_endpoints: Some(PinEndpoints::Udp),
            require_second_factor: true,
            mode: Some(Mode::Audit),
        }
    );
    assert_eq!(with_options("").unwrap(), RoleOptions::default());
    assert_eq!(with_options("pin_width: {ipv6: 64}").unwrap().pin_width, PinWidth { ipv4: 32, ipv6: 64 });
    for ttl in ["0s", "never"] {
        assert_eq!(with_options(&format!("max_session_ttl: {ttl}")).unwrap().max_session_ttl, None);
    }
    assert_eq!(with_options("mode: off").unwrap().mode, Some(Mode::Off), "off is a word here, no boolean");
    assert_eq!(with_options("pin_endpoints: off").unwrap().pin_endpoints, Some(PinEndpoints::Off));
    assert_eq!(with_options("on_new_address: follow").unwrap().on_new_address, Some(OnNewAddress::Follow));
}

#[test]
fn booleans_are_read_in_every_spelling() {
    for (text, value) in [
        ("true", true),
        ("yes", true),
        ("'on'", true),
        ("\"true\"", true),
        ("True", true),
        ("false", false),
        ("no", false),
        ("off", false),
        ("", false),
        ("null", false),
    ] {
        let options = with_options(&format!("pin_source_ip: {text}")).unwrap();
        assert_eq!(options.pin_source_ip, value, "{text:?}");
    }
}

#[test]
fn wrong_values_are_errors_with_their_place() {
    for (options, expected) in [
        ("pin_source_ip: maybe", "7:20: spec.options.pin_source_ip must be true or false, not a text"),
        ("pin_source_ip: 1", "7:20: spec.options.pin_source_ip must be true or false, not a number"),
        ("mode: Enforce", "7:11: spec.options.mode must be one of enforce, audit, off"),
        ("on_new_address: [cut]", "7:21: spec.options.on_new_address must be one of keep, cut, follow"),
        (
            "max_session_ttl: 8",
            "7:22: spec.options.max_session_ttl must be a text, not a number: put it in quotes",
        ),
        (
            "max_session_ttl: soon",
            "7:22: spec.options.max_session_ttl is not a duration such as \"8h\" or \"30m\"",
        ),
        ("pin_width: {ipv4: 33}", "7:23: spec.options.pin_width.ipv4 is not a prefix length from 0 to 32"),
        ("pin_width: {ipv6: -1}", "7:23: spec.options.pin_width.ipv6 is not a prefix length from 0 to 128"),
        ("pin_width: {ipv6: 129}", "7:23: spec.options.pin_width.ipv6 is not a prefix length from 0 to 128"),
        ("pin_width: 24", "7:16: spec.options.pin_width must be a mapping, not a number"),
    ] {
        assert_eq!(with_options(options).unwrap_err(), expected);
    }
}

#[test]
fn misspelt_fields_are_errors_with_their_place_and_a_hint() {
    for (options, expected) in [
        (
            "pin_sourc_ip: true",
            "7:5: unknown field \"spec.options.pin_sourc_ip\"; did you mean \"pin_source_ip\"?",
        ),
        (
            "forward_agnet: true",
            "7:5: unknown field \"spec.options.forward_agnet\"; did you mean \"forward_agent\"?",
        ),
        (
            "logins: [root]",
            "7:5: unknown field \"spec.options.logins\"; it belongs in spec.allow or spec.deny",
        ),
        ("weather: fine", "7:5: unknown field \"spec.options.weather\""),
        (
            "pin_width: {ip4: 32}",
            "7:17: unknown field \"spec.options.pin_width.ip4\"; did you mean \"ipv4\"?",
        ),
    ] {
        assert_eq!(with_options(options).unwrap_err(), expected);
    }
    let text = "kind: role\nversion: v5\nmetadata: {name: r}\nspec:\n  alow: {}\n";
    assert_eq!(error(text), "5:3: unknown field \"spec.alow\"; did you mean \"allow\"?");
}

#[test]
fn duplicate_keys_are_errors() {
    let said = with_options("mode: off\n    mode: audit").unwrap_err();
    assert!(said.starts_with("8:5: ") && said.contains("mode"), "{said}");
    let said = error("kind: role\nversion: v7\nmetadata: {name: a}\nmetadata: {name: b}\n");
    assert!(said.starts_with("4:1: "), "{said}");
}

#[test]
fn what_is_no_role_is_an_error() {
    for (text, expected) in [
        ("version: v7\n", "1:1: kind is missing"),
        ("kind: user\n", "1:7: kind is not \"role\""),
        ("kind: role\nversion: v2\n", "2:10: version is not one of v3 to v8"),
        ("kind: role\nversion: v7\n", "1:1: metadata is missing"),
        ("kind: role\nversion: v7\nmetadata: {}\n", "3:11: metadata.name is missing"),
        (
            "kind: role\nversion: v7\nmetadata: {name: 7}\n",
            "3:18: metadata.name must be a text, not a number: put it in quotes",
        ),
        (
            "kind: role\nversion: v7\nmetadata: {name: ''}\n",
            "3:18: metadata.name must be a line of 1 to 256 bytes",
        ),
        ("- kind\n", "1:1: a role must be a mapping, not a list"),
        (
            "kind: role\nversion: v7\nmetadata: {name: r}\nspec: {allow: {logins: root}}\n",
            "4:24: spec.allow.logins must be a list, not a text",
        ),
        (
            "kind: role\nversion: v7\nmetadata: {name: r}\nspec: {deny: {logins: [a, '{{x']}}\n",
            "4:27: spec.deny.logins: a template's braces are not closed",
        ),
        (
            "kind: role\nversion: v7\nmetadata: {name: r}\nspec: {deny: {logins: [1000]}}\n",
            "4:24: spec.deny.logins must be a text, not a number: put it in quotes",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let said = error("kind: [role\n");
    assert!(!said.contains("at line") && said.chars().next().unwrap().is_ascii_digit(), "{said}");
}

#[test]
fn names_are_lines_of_at_most_256_bytes() {
    let named = |name: &str| {
        Role::parse_all(&format!("kind: role\nversion: v7\nmetadata:\n  name: \"{name}\"\n"))
            .map(|roles| roles.len())
    };
    assert_eq!(named(&"n".repeat(256)), Ok(1));
    for name in [&"n".repeat(257), "a\\nb"] {
        assert_eq!(
            named(name).unwrap_err().to_string(),
            "4:9: metadata.name must be a line of 1 to 256 bytes"
        );
    }
}

#[test]
fn all_known_versions_load() {
    for version in ["v3", "v4", "v5", "v6", "v7", "v8"] {
        assert_eq!(
            one(&format!("kind: role\nversion: {version}\nmetadata: {{name: r}}\nspec: {{}}\n")).name,
            "r"
        );
    }
}

#[test]
fn a_file_may_hold_several_roles_or_none() {
    let role = |name: &str| format!("---\nkind: role\nversion: v7\nmetadata: {{name: {name}}}\n");
    let roles = Role::parse_all(&format!("# two\n{}{}---\n", role("a"), role("b"))).unwrap();
    assert_eq!(roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(roles[1].line, 7);
    assert_eq!(Role::parse_all("").unwrap(), []);
    assert_eq!(Role::parse_all("# nothing\n").unwrap(), []);
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let role = one(
        "kind: role\nversion: v7\nmetadata: {name: r}\nspec:\n  allow: &who\n    logins: [a]\n  deny:\n    <<: *who\n",
    );
    assert_eq!(role.deny_logins, [LoginPattern::Literal("a".into())]);
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    assert_eq!(Role::parse_all(&" ".repeat(MAX_ROLE_FILE)), Ok(Vec::new()));
    assert_eq!(error(&" ".repeat(MAX_ROLE_FILE + 1)), "0:0: longer than 1048576 bytes");
    assert!(Role::parse_all(&format!("a: {}{}", "[".repeat(40), "]".repeat(40))).is_err());
    assert!(Role::parse_all(&format!("a: {}", "[".repeat(100_000))).is_err());
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(Role::parse_all(&bomb).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_damaged_role_file_panics(at in 0..WELL_KNOWN.len(), cut in 0..40usize, put in "[ -~\n\u{0}é]{0,4}") {
        let end = (at + cut).min(WELL_KNOWN.len());
        let text = format!("{}{put}{}", &WELL_KNOWN[..at], &WELL_KNOWN[end..]);
        if let Err(error) = Role::parse_all(&text) {
            prop_assert!(!error.what.is_empty());
        }
    }
}
