//! Rules about pins: whether one must be there, how wide it may be, and who is inside.

use super::*;

#[test]
fn rule_1_a_demanded_pin_must_be_there() {
    assert_eq!(reason(&draft(r#"["pinned"]"#), HOME), PinMissing);
    assert_eq!(reason(&draft(r#"["plain","pinned"]"#), HOME), PinMissing, "any role may demand it");
    assert_eq!(reason(&draft(r#"["plain"]"#), HOME), Allowed);
    assert_eq!(reason(&draft(r#"["pinned"]"#).extension("source-address", HOME), HOME), PinMissing);
}

#[test]
fn rule_2_a_demanded_pin_must_be_narrow_enough() {
    let pinned = |roles, pins| reason(&draft(roles).pinned(pins), HOME);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1"), Allowed);
    assert_eq!(pinned(r#"["pinned"]"#, "0.0.0.0/0"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.0/31"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1,0.0.0.0/0"), PinTooWide);
    assert_eq!(pinned(r#"["pinned"]"#, "198.51.111.1,2001:db8::/64"), PinTooWide);
    assert_eq!(pinned(r#"["pool"]"#, "198.51.111.0/24"), Allowed);
    assert_eq!(pinned(r#"["pool"]"#, "198.51.110.0/23"), PinTooWide);
    assert_eq!(
        pinned(r#"["pool","pinned"]"#, "198.51.111.0/24"),
        PinTooWide,
        "every pinning role's width must hold"
    );
    assert_eq!(pinned(r#"["pinned","wide-unpinned"]"#, "198.51.111.0/24"), PinTooWide);
    assert_eq!(pinned(r#"["plain"]"#, "0.0.0.0/0"), Allowed, "nobody demands a pin");
}

#[test]
fn rule_3_a_pin_holds_whoever_asks_for_it() {
    for roles in [r#"["pinned"]"#, r#"["plain"]"#] {
        assert_eq!(reason(&draft(roles).pinned("198.51.111.1/32"), HOME), Allowed);
        assert_eq!(reason(&draft(roles).pinned("198.51.111.1/32"), AWAY), PinMismatch);
    }
    let both = draft(r#"["pinned"]"#).pinned("198.51.111.1,2001:db8::1");
    assert_eq!(reason(&both, "2001:db8::1"), Allowed);
    assert_eq!(reason(&both, "2001:db8::2"), PinMismatch);
}

#[test]
fn rule_4_a_pin_needs_an_observed_address() {
    assert_eq!(reason(&draft(r#"["plain"]"#).pinned("198.51.111.1/32"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["plain"]"#).pinned("0.0.0.0/0"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["pinned"]"#).pinned("198.51.111.1/32"), None), ObservedAddressUnknown);
    assert_eq!(reason(&draft(r#"["plain"]"#), None), Allowed);
}

#[test]
fn rule_6_addresses_are_compared_parsed() {
    let pinned = |pins| draft(r#"["plain"]"#).pinned(pins);
    assert_eq!(reason(&pinned("198.51.111.1/32"), "::ffff:198.51.111.1"), Allowed);
    assert_eq!(reason(&pinned("2001:DB8:0:0::1"), "2001:db8::1"), Allowed);
    assert_eq!(reason(&pinned("198.51.111.10"), HOME), PinMismatch, "no comparison of text");
    assert_eq!(reason(&pinned("::ffff:198.51.111.1/128"), HOME), PinMismatch, "as in sshd");
    assert_eq!(reason(&pinned("::/0"), HOME), PinMismatch);
}

#[test]
fn the_pin_in_use_comes_first_in_the_terms() {
    let judgement = judge_at(&draft(r#"["plain"]"#).pinned("10.0.0.0/8,198.51.111.0/24"), Some(HOME));
    assert_eq!(judgement.terms.unwrap().pins.unwrap().to_string(), "198.51.111.0/24,10.0.0.0/8");
    assert_eq!(judgement.pinned.unwrap().to_string(), "10.0.0.0/8,198.51.111.0/24");
}
