//! Messages between hook and agent: what is understood is said again in the same words, and nothing beyond a message's
//! own length is looked at.
#![no_main]

use cotter_hook::protocol::{HEADER_LEN, Header, MAX_LEN, ProtocolError, Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return };
    let Ok(header) = Header::decode(head) else { return };
    assert!(header.body_len <= MAX_LEN - HEADER_LEN);
    let body = &rest[..rest.len().min(header.body_len)];
    let request = Request::decode(header, body);
    let reply = Reply::decode(header, body);
    assert!(request.is_err() || reply.is_err(), "it is both");
    if let Ok(request) = request {
        require_again(request.encode(), |header, body| {
            assert_eq!(Request::decode(header, body), Ok(request))
        });
    }
    if let Ok(reply) = reply {
        if let Reply::Principals { lines } = &reply {
            assert!(lines.iter().all(|line| !line.contains(['\n', '\r', '\0'])), "a line is two: {lines:?}");
        }
        require_again(reply.encode(), |header, body| assert_eq!(Reply::decode(header, body), Ok(reply)));
    }
});

/// Its encoding is whole, and read as the same, also with what a newer sender would append.
fn require_again(encoded: Result<Vec<u8>, ProtocolError>, is_same: impl FnOnce(Header, &[u8])) {
    let mut encoded = match encoded {
        Ok(encoded) => encoded,
        Err(error) => {
            assert!(matches!(error, ProtocolError::TooLong { .. }), "{error}");
            return;
        }
    };
    let (head, body) = encoded.split_first_chunk::<HEADER_LEN>().expect("a header");
    let header = Header::decode(head).expect("our own header");
    assert_eq!(header.body_len, body.len());
    encoded.extend_from_slice(b"more");
    is_same(header, &encoded[HEADER_LEN..]);
}
