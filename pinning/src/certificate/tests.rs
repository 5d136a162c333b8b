//! Reading certificates: what is sound, what is not, and that damage is always noticed.

use proptest::prelude::*;
use ssh_key::certificate::{Builder, CertType};

use super::*;
use crate::test_certificate::{Authority, Draft, string};

fn sound() -> Draft {
    Authority::seeded(1).certificate().pinned("198.51.111.1/32").extension("roles@cotter", "[\"pinned\"]")
}

fn parse(draft: &Draft) -> Result<Certificate, Denial> {
    Certificate::parse(&draft.text())
}

fn reason<T: std::fmt::Debug>(result: Result<T, Denial>) -> LoginReason {
    result.unwrap_err().reason
}

fn of_blob(blob: &[u8]) -> Result<Certificate, Denial> {
    Certificate::parse(&Base64::encode_string(blob))
}

#[test]
fn a_sound_certificate_says_whom_it_speaks_for() {
    let certificate = parse(&sound().pinned_too()).unwrap();
    let identity = certificate.identity();
    assert_eq!(identity.key_id, "alice");
    assert_eq!(identity.serial, 7);
    assert_eq!(identity.cluster, None);
    assert_eq!(identity.principals, ["alice", "deploy"]);
    assert_eq!(identity.pins.unwrap().to_string(), "198.51.111.1/32");
    assert_eq!((identity.valid_after, identity.valid_before), (1000, 2000));
    let ca = Authority::seeded(1).key().public_key().fingerprint(ssh_key::HashAlg::Sha256).to_string();
    assert_eq!(identity.ca, ca);
    let key = Authority::seeded(200).key().public_key().fingerprint(ssh_key::HashAlg::Sha256).to_string();
    assert_eq!(identity.key, key);
    assert_eq!(certificate.extension("roles@cotter").unwrap(), Some("[\"pinned\"]"));
    assert_eq!(certificate.extension("absent").unwrap(), None);
    assert_eq!(certificate.verify_signature(), Ok(()));
    assert_eq!(certificate.require_user(), Ok(()));
    assert_eq!(certificate.require_known_options(), Ok(()));
}

impl Draft {
    /// An extension that is called like the critical option; it pins nothing.
    fn pinned_too(self) -> Self {
        self.extension("source-address", "0.0.0.0/0")
    }
}

#[test]
fn a_source_address_among_the_extensions_pins_nothing() {
    let certificate = parse(&Authority::seeded(1).certificate().pinned_too()).unwrap();
    assert_eq!(certificate.pins(), Ok(None));
}

#[test]
fn the_text_may_be_a_line_or_the_bare_blob() {
    let line = sound().text();
    let blob = Base64::encode_string(&sound().blob());
    let certificate = Certificate::parse(&line).unwrap();
    for text in [
        format!("{line}\n"),
        format!("  {line} more words\r\n"),
        format!("ssh-ed25519-cert-v01@openssh.com\t{blob}"),
        blob.clone(),
        format!("\n{blob}\n"),
    ] {
        assert_eq!(Certificate::parse(&text).unwrap(), certificate, "{text:?}");
    }
}

#[test]
fn the_text_is_at_most_128_kib_long() {
    let line = sound().text();
    let of_len = |len: usize| format!("{line} {}", "x".repeat(len - line.len() - 1));
    assert!(Certificate::parse(&of_len(131_072)).is_ok());
    assert_eq!(reason(Certificate::parse(&of_len(131_073))), LoginReason::MalformedCertificate);
}

#[test]
fn nothing_and_a_plain_key_are_no_certificate() {
    for text in ["", " \n", &Authority::seeded(1).public_line()] {
        assert_eq!(reason(Certificate::parse(text)), LoginReason::NoCertificate, "{text:?}");
    }
}

#[test]
fn other_texts_are_malformed() {
    let line = sound().text();
    for text in [
        "hello".to_owned(),
        "ssh-ed25519-cert-v01@openssh.com".to_owned(),
        "AAAA".to_owned(),
        format!("{line}\n{line}"),
        line.replacen("ed25519", "rsa", 1),
        format!("cert-authority {line}"),
        line.replace("AAAA", "AA A"),
        format!("ssh-ed25519-cert-v01@openssh.com {}", "A".repeat(MAX_CERTIFICATE_TEXT)),
    ] {
        assert_eq!(reason(Certificate::parse(&text)), LoginReason::MalformedCertificate, "{:.80}", text);
    }
}

#[test]
fn what_stands_behind_the_certificate_makes_it_malformed() {
    let blob = [sound().blob(), vec![0]].concat();
    assert_eq!(reason(of_blob(&blob)), LoginReason::MalformedCertificate);
}

#[test]
fn what_stands_behind_the_signature_makes_it_invalid() {
    let draft = sound();
    let signature = [draft.signature(), vec![0]].concat();
    let blob = [draft.signed_part(), string(&signature)].concat();
    assert_eq!(reason(of_blob(&blob).unwrap().verify_signature()), LoginReason::SignatureInvalid);
}

#[test]
fn types_are_user_and_host() {
    let of_kind = |kind| parse(&Draft { kind, ..sound() });
    assert_eq!(reason(of_kind(2).unwrap().require_user()), LoginReason::NotAUserCertificate);
    for kind in [0, 3, u32::MAX] {
        assert_eq!(reason(of_kind(kind)), LoginReason::MalformedCertificate, "{kind}");
    }
}

#[test]
fn validity_includes_its_first_second_and_excludes_its_last() {
    let certificate = parse(&sound()).unwrap();
    assert_eq!(reason(certificate.require_valid_at(999)), LoginReason::CertificateNotYetValid);
    assert_eq!(certificate.require_valid_at(990).unwrap_err().detail, "valid in 10 s");
    assert_eq!(certificate.require_valid_at(1000), Ok(()));
    assert_eq!(certificate.require_valid_at(1999), Ok(()));
    assert_eq!(reason(certificate.require_valid_at(2000)), LoginReason::CertificateExpired);
    let forever = parse(&sound().valid(0, u64::MAX)).unwrap();
    assert_eq!(forever.require_valid_at(0), Ok(()));
    assert_eq!(forever.require_valid_at(u64::MAX - 1), Ok(()));
    assert_eq!(forever.verify_signature(), Ok(()));
    let never = parse(&sound().valid(2000, 1000)).unwrap();
    assert_eq!(reason(never.require_valid_at(1500)), LoginReason::CertificateNotYetValid);
}

#[test]
fn unknown_critical_options_are_refused() {
    let known = sound().critical("force-command", "true").critical_raw("verify-required", b"");
    assert_eq!(parse(&known).unwrap().require_known_options(), Ok(()));
    for name in ["source-addres", "permit-pty", "", "Source-Address"] {
        let certificate = parse(&sound().critical(name, "")).unwrap();
        assert_eq!(reason(certificate.require_known_options()), LoginReason::CriticalOptionUnknown, "{name}");
    }
}

#[test]
fn known_critical_options_must_hold_what_they_should() {
    let plain = || Authority::seeded(1).certificate();
    for draft in [
        plain().critical_raw("force-command", b""),
        plain().critical_raw("force-command", b"\0\0\0\x01a\0"),
        plain().critical_raw("verify-required", b"\0\0\0\0"),
    ] {
        assert_eq!(reason(parse(&draft).unwrap().require_known_options()), LoginReason::MalformedCertificate);
    }
    for draft in [
        plain().critical_raw("source-address", b""),
        plain().critical_raw("source-address", b"10.0.0.1"),
        plain().critical_raw("source-address", b"\0\0\0\x0810.0.0.1\0"),
        plain().pinned(""),
        plain().pinned("10.0.0.1, 10.0.0.2"),
        plain().pinned("!10.0.0.1"),
    ] {
        let certificate = parse(&draft).unwrap();
        assert_eq!(certificate.require_known_options(), Ok(()));
        assert_eq!(reason(certificate.pins()), LoginReason::SourceAddressInvalid);
        assert_eq!(certificate.identity().pins, None);
    }
}

#[test]
fn an_option_twice_is_malformed() {
    for draft in [
        sound().pinned("198.51.111.1/32"),
        sound().pinned("0.0.0.0/0"),
        sound().critical("force-command", "a").critical("force-command", "a"),
        sound().extension("roles@cotter", "[]"),
    ] {
        assert_eq!(reason(parse(&draft)), LoginReason::MalformedCertificate);
    }
}

#[test]
fn options_need_not_be_sorted_and_extensions_may_hold_anything() {
    let draft = sound()
        .extension_raw("binary@example.com", &[0xff, 0])
        .extension("a", "")
        .critical("force-command", "x");
    let certificate = parse(&draft).unwrap();
    assert_eq!(certificate.verify_signature(), Ok(()));
    assert_eq!(certificate.extension("a"), Ok(Some("")));
    assert_eq!(reason(certificate.extension("binary@example.com")), LoginReason::MalformedCertificate);
    assert_eq!(reason(certificate.extension("permit-pty")), LoginReason::MalformedCertificate);
}

#[test]
fn counts_are_bounded() {
    let with_principals = |count: u16| Draft { principals: vec![b"alice".to_vec(); count.into()], ..sound() };
    assert!(parse(&with_principals(256)).is_ok());
    assert_eq!(reason(parse(&with_principals(257))), LoginReason::MalformedCertificate);
    let with_extensions = |count: u16| {
        (0..count).fold(Authority::seeded(1).certificate(), |draft, n| draft.extension(&n.to_string(), ""))
    };
    assert!(parse(&with_extensions(255)).is_ok());
    assert_eq!(reason(parse(&with_extensions(256))), LoginReason::MalformedCertificate);
}

#[test]
fn names_are_texts_without_nul() {
    for draft in [
        Draft { key_id: b"ali\0ce".to_vec(), ..sound() },
        Draft { key_id: vec![0xff], ..sound() },
        Draft { principals: vec![b"alice\0".to_vec()], ..sound() },
        sound().critical("force\0-command", ""),
    ] {
        assert_eq!(reason(parse(&draft)), LoginReason::MalformedCertificate);
    }
}

#[test]
fn only_the_named_authoritys_signature_is_valid() {
    let draft = sound();
    let other = Draft { authority: Authority::seeded(2), ..draft.clone() };
    let forged = [draft.signed_part(), string(&other.signature())].concat();
    assert_eq!(reason(of_blob(&forged).unwrap().verify_signature()), LoginReason::SignatureInvalid);
    let empty = [draft.signed_part(), string(b"")].concat();
    assert_eq!(reason(of_blob(&empty).unwrap().verify_signature()), LoginReason::SignatureInvalid);
}

#[test]
fn certificates_of_another_maker_read_the_same() {
    let (authority, subject) = (Authority::seeded(1), Authority::seeded(200));
    let mut builder =
        Builder::new([1; 32], subject.key().public_key().key_data().clone(), 1000, 2000).unwrap();
    builder.serial(7).unwrap().cert_type(CertType::User).unwrap().key_id("alice").unwrap();
    builder.valid_principal("alice").unwrap().valid_principal("deploy").unwrap();
    builder.critical_option("source-address", "198.51.111.1/32").unwrap();
    builder.extension("permit-pty", "").unwrap().extension("roles@cotter", "[\"pinned\"]").unwrap();
    let theirs = builder.sign(authority.key()).unwrap().to_openssh().unwrap();
    assert_eq!(Certificate::parse(&theirs).unwrap(), parse(&sound()).unwrap());
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    let blob = sound().blob();
    for bit in 0..blob.len() * 8 {
        let mut damaged = blob.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(certificate) = of_blob(&damaged) else { continue };
        assert!(certificate.verify_signature().is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_malformed() {
    let blob = sound().blob();
    for len in 0..blob.len() {
        assert!(matches!(
            reason(of_blob(&blob[..len])),
            LoginReason::MalformedCertificate | LoginReason::NoCertificate
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn rearranged_certificates_are_never_valid(
        from in 0..300usize, len in 0..60usize, to in 0..300usize, put in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let blob = sound().blob();
        let part = &blob[from.min(blob.len())..(from + len).min(blob.len())];
        let (head, tail) = blob.split_at(to.min(blob.len()));
        let damaged = [head, part, &put, tail].concat();
        if let Ok(certificate) = of_blob(&damaged) {
            prop_assert!(certificate.verify_signature().is_err() || damaged == blob);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = Certificate::parse(&text);
        let _ = Certificate::parse(&format!("ssh-ed25519-cert-v01@openssh.com {text}"));
    }

    #[test]
    fn no_bytes_panic(kind in 0..KeyKind::ALL.len(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let blob = [string(KeyKind::ALL[kind].certificate.as_bytes()), bytes].concat();
        prop_assert!(of_blob(&blob).is_err());
    }

    #[test]
    fn no_wrongly_sized_field_panics(at in 0..500usize, size in any::<u32>()) {
        let mut blob = sound().blob();
        let at = at.min(blob.len() - 4);
        let same = blob[at..at + 4] == size.to_be_bytes();
        blob[at..at + 4].copy_from_slice(&size.to_be_bytes());
        if let Ok(certificate) = of_blob(&blob) {
            prop_assert!(same || certificate.verify_signature().is_err());
        }
    }
}
