//! Certificates that are damaged, too long, or anything at all.

use base64ct::{Base64, Encoding};
use proptest::prelude::*;

use super::*;

#[test]
fn the_longest_certificates_are_refused() {
    let many: String = (0..256).map(|n| format!(",{}", n.to_string().repeat(20))).collect();
    let huge = draft(&format!("[\"x\"{}]", ",\"x\"".repeat(8000))).critical("force-command", &many.repeat(3));
    for text in [huge.text(), "A".repeat(crate::MAX_CERTIFICATE_TEXT)] {
        assert_eq!(judge(&text, Some(HOME), &[]).verdict.reason(), MalformedCertificate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever is changed in a certificate's bytes, nobody gets in who did not before, and nobody with another text.
    #[test]
    fn no_damage_allows_a_login(
        pinned in any::<bool>(), at in 0..800usize, cut in 0..9usize, put in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let sound = draft(r#"["pinned"]"#);
        let sound = if pinned { sound.pinned(HOME) } else { sound };
        let blob = sound.blob();
        let at = at.min(blob.len());
        let end = (at + cut).min(blob.len());
        let damaged = [&blob[..at], &put, &blob[end..]].concat();
        let verdict = judge(&Base64::encode_string(&damaged), Some(HOME), &[]).verdict;
        prop_assert_eq!(verdict.is_allow(), pinned && damaged == blob);
    }

    /// The same for the text; what decodes to the same bytes is the same certificate.
    #[test]
    fn no_damaged_text_allows_a_login(at in 0..800usize, cut in 0..3usize, put in "[ -~\n]{0,3}") {
        let sound = draft(r#"["plain"]"#).pinned(HOME);
        let text = sound.text();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        let damaged = format!("{}{put}{}", &text[..at], &text[end..]);
        let same = Certificate::parse(&damaged).ok() == Certificate::parse(&text).ok();
        prop_assert_eq!(judge(&damaged, Some(HOME), &[]).verdict.is_allow(), same);
    }

    /// Rules 1 to 4 against their plain statement.
    #[test]
    fn the_pin_rules_are_their_plain_statement(
        demanded in any::<bool>(),
        pins in prop::option::of(prop::collection::vec((any::<[u8; 4]>(), 24..=32u8), 1..4)),
        near in any::<bool>(),
        from in prop::option::of(any::<[u8; 4]>()),
    ) {
        let networks: Option<Vec<ipnet::Ipv4Net>> = pins.map(|pins| {
            pins.into_iter().map(|(bytes, bits)| ipnet::Ipv4Net::new(bytes.into(), bits).unwrap().trunc()).collect()
        });
        let from = match (&networks, from) {
            (Some(networks), Some(_)) if near => Some(networks[0].broadcast()),
            (_, from) => from.map(std::net::Ipv4Addr::from),
        };
        let mut sound = draft(if demanded { r#"["pinned"]"# } else { r#"["plain"]"# });
        if let Some(networks) = &networks {
            sound = sound.pinned(&networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        let expected = match (&networks, from) {
            (None, _) if demanded => PinMissing,
            (None, _) => Allowed,
            (Some(networks), _) if demanded && networks.iter().any(|net| net.prefix_len() < 32) => PinTooWide,
            (Some(_), None) => ObservedAddressUnknown,
            (Some(networks), Some(from)) if networks.iter().any(|net| net.contains(&from)) => Allowed,
            (Some(_), Some(_)) => PinMismatch,
        };
        let from = from.map(|from| from.to_string());
        prop_assert_eq!(judge(&sound.text(), from.as_deref(), &[]).verdict.reason(), expected);
    }
}
