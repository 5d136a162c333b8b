//! What goes in comes out, and whatever else comes in is a clean error.

use super::*;

fn requests() -> Vec<Request> {
    let text = |text: &str| text.to_owned();
    vec![
        Request::Principals { user: text("alice"), certificate: text("AAAAIHNzaA==") },
        Request::Open(Open {
            user: text("alice"),
            tty: text("ssh"),
            service: text("sshd"),
            rhost: text("198.51.111.1"),
            auth_info: b"publickey ssh-ed25519 AAAA\n\xff".to_vec(),
            cookie: Some(u64::MAX),
            break_glass: true,
        }),
        Request::Open(Open::default()),
        Request::Open(Open { user: text("älice"), cookie: Some(1), ..Open::default() }),
    ]
}

fn replies() -> Vec<Reply> {
    let text = |text: &str| text.to_owned();
    vec![
        Reply::Principals { lines: vec![] },
        Reply::Principals { lines: vec![text("alice"), text(""), text("from=\"::/0\"\tops")] },
        Reply::Allow { message: None },
        Reply::Allow { message: Some(text("pinned to 198.51.111.1")) },
        Reply::Deny { message: text("pin_mismatch\nlog in again") },
        Reply::Error { text: text("no") },
    ]
}

fn split(message: &[u8]) -> Result<(Header, &[u8]), ProtocolError> {
    let (header, body) = message.split_first_chunk().ok_or(ProtocolError::Truncated)?;
    let header = Header::decode(header)?;
    Ok((header, body.get(..header.body_len).ok_or(ProtocolError::Truncated)?))
}

fn decode_request(message: &[u8]) -> Result<Request, ProtocolError> {
    split(message).and_then(|(header, body)| Request::decode(header, body))
}

fn decode_reply(message: &[u8]) -> Result<Reply, ProtocolError> {
    split(message).and_then(|(header, body)| Reply::decode(header, body))
}

/// Sets the total length in the header to what the message has.
fn relength(message: &mut [u8]) {
    let len = u32::try_from(message.len()).unwrap();
    message[8..12].copy_from_slice(&len.to_be_bytes());
}

/// xorshift64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

#[test]
fn every_message_survives_the_way() {
    for request in requests() {
        assert_eq!(decode_request(&request.encode().unwrap()), Ok(request));
    }
    for reply in replies() {
        assert_eq!(decode_reply(&reply.encode().unwrap()), Ok(reply));
    }
}

#[test]
fn every_shortened_message_is_truncated() {
    let messages = requests().into_iter().map(|r| r.encode().unwrap());
    for message in messages {
        for len in HEADER_LEN..message.len() {
            let mut short = message[..len].to_vec();
            relength(&mut short);
            assert_eq!(decode_request(&short), Err(ProtocolError::Truncated));
        }
    }
}

#[test]
fn fields_that_a_newer_version_appends_are_ignored() {
    for request in requests() {
        let mut message = request.encode().unwrap();
        message.extend_from_slice(&[0, 0, 0, 2, b'h', b'i', 9, 9]);
        message[4] = VERSION + 1;
        relength(&mut message);
        assert_eq!(decode_request(&message), Ok(request));
    }
}

#[test]
fn versions_further_apart_than_one_do_not_speak() {
    let mut message = Reply::Allow { message: None }.encode().unwrap();
    message[4] = VERSION + 2;
    assert_eq!(decode_reply(&message), Err(ProtocolError::Version { theirs: VERSION + 2 }));
}

#[test]
fn an_unknown_kind_is_named() {
    let mut message = Reply::Allow { message: None }.encode().unwrap();
    message[5] = 0x42;
    assert_eq!(decode_reply(&message), Err(ProtocolError::Kind { kind: 0x42 }));
    assert_eq!(decode_request(&message), Err(ProtocolError::Kind { kind: 0x42 }));
}

#[test]
fn a_message_beyond_the_bound_is_neither_sent_nor_taken() {
    let request = Request::Principals { user: String::new(), certificate: "A".repeat(MAX_LEN) };
    assert!(matches!(request.encode(), Err(ProtocolError::TooLong { .. })));

    let mut message = Reply::Allow { message: None }.encode().unwrap();
    for total in [65_537_u32, u32::MAX] {
        message[8..12].copy_from_slice(&total.to_be_bytes());
        assert!(matches!(decode_reply(&message), Err(ProtocolError::TooLong { .. })));
    }
    for total in 0..12_u32 {
        message[8..12].copy_from_slice(&total.to_be_bytes());
        assert_eq!(decode_reply(&message), Err(ProtocolError::Truncated));
    }
}

#[test]
fn a_principals_line_cannot_pass_for_two() {
    let reply = Reply::Principals { lines: vec!["alice\nroot".to_owned()] };
    assert_eq!(reply.encode(), Err(ProtocolError::Field { name: "line" }));

    let mut message = Reply::Principals { lines: vec!["alice_root".to_owned()] }.encode().unwrap();
    let at = message.iter().position(|&byte| byte == b'_').unwrap();
    message[at] = b'\n';
    assert_eq!(decode_reply(&message), Err(ProtocolError::Field { name: "line" }));
}

#[test]
fn any_bytes_are_a_message_or_a_clean_error() {
    let mut random = Random(0x00c0_7e4a_11ce);
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = (0..random.below(96)).map(|_| random.byte()).collect();
        if bytes.len() >= HEADER_LEN && random.below(8) != 0 {
            bytes[..5].copy_from_slice(&[b'C', b'T', b'T', b'R', VERSION]);
            relength(&mut bytes);
        }
        let _ = decode_request(&bytes);
        let _ = decode_reply(&bytes);
    }
}

#[test]
fn any_change_to_a_message_is_a_message_or_a_clean_error() {
    let mut random = Random(0x5eed_0000_0001);
    let requests = requests().into_iter().map(|r| r.encode().unwrap());
    let messages: Vec<_> = requests.chain(replies().into_iter().map(|r| r.encode().unwrap())).collect();
    for _ in 0..100_000 {
        let mut bytes = messages[random.below(messages.len())].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
        // What is taken for a message can be sent on as one.
        if let Ok(request) = decode_request(&bytes) {
            assert!(request.encode().is_ok());
        }
        if let Ok(reply) = decode_reply(&bytes) {
            assert!(reply.encode().is_ok());
        }
    }
}
