//! Role files: an error has its place in the text, and a role is one that a policy can use.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinning::{MAX_ROLE_FILE, Role};

/// A role that follows.
const NEXT: &str =
    "kind: role\nversion: v7\nmetadata: {name: next}\nspec: {options: {pin_source_ip: true}}\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = Role::parse_all(text);
    assert_eq!(Role::parse_all(text), read);
    let lines = text.split(['\n', '\r']).count() as u64;
    match read {
        Ok(roles) => {
            for role in &roles {
                require_sound(role, lines);
            }
            require_followed(text, &roles);
        }
        Err(error) => {
            assert!(!error.what.is_empty());
            assert_eq!(error.line == 0, error.column == 0, "{error}");
            assert!(error.line <= lines + 1, "{error}: there are {lines} lines");
        }
    }
});

fn require_sound(role: &Role, lines: u64) {
    assert!(!role.name.is_empty() && role.name.len() <= 256 && !role.name.contains(char::is_control));
    assert!((1..=lines).contains(&role.line), "{role:?}: there are {lines} lines");
    assert!(role.options.pin_width.ipv4 <= 32 && role.options.pin_width.ipv6 <= 128);
    assert!(role.options.max_session_ttl.is_none_or(|ttl| !ttl.is_zero()));
    assert!(role.without_effect.is_sorted_by_key(|field| (field.line, field.column)));
}

/// One more document leaves those before it as they are.
fn require_followed(text: &str, roles: &[Role]) {
    let more = format!("{text}\n---\n{NEXT}");
    if more.len() > MAX_ROLE_FILE {
        return;
    }
    let more = Role::parse_all(&more).expect("a sound document behind sound ones");
    let (next, before) = more.split_last().expect("a role");
    assert_eq!(before, roles);
    assert_eq!(next.name, "next");
    assert!(next.options.pin_source_ip);
}
