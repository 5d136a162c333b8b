//! What ssh's arguments are about, as far as it matters before ssh runs.

use std::ffi::OsString;

/// Options that take a value (OpenSSH 10.0, ssh.c).
const WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";
/// Options with which ssh tells something of itself, or talks to an ssh that is connected already.
const NO_LOGIN: &[u8] = b"VGQO";

/// Whether ssh is to log in somewhere.
pub fn logs_in(arguments: &[OsString]) -> bool {
    let mut arguments = arguments.iter().map(|argument| argument.as_encoded_bytes());
    let mut host = false;
    let mut options = true;
    while let Some(argument) = arguments.next() {
        match argument {
            b"--" if options => options = false,
            [b'-', letters @ ..] if options && !letters.is_empty() => {
                let Some(value) = value_of(letters) else { return false };
                if value.is_some_and(<[u8]>::is_empty) {
                    arguments.next();
                }
            }
            // Behind the host options may stand; behind the first word of the command, none.
            _ if host => return true,
            _ => host = true,
        }
    }
    host
}

/// What stands behind the letter that takes a value, if one does; `None` if there is a letter with which ssh does not log in.
#[expect(clippy::option_option, reason = "one is for the answer, the other for whether there is a value")]
fn value_of(letters: &[u8]) -> Option<Option<&[u8]>> {
    for (index, letter) in letters.iter().enumerate() {
        if NO_LOGIN.contains(letter) {
            return None;
        }
        if WITH_VALUE.contains(letter) {
            return Some(Some(&letters[index + 1..]));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs_in(line: &str) -> bool {
        super::logs_in(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn ssh_logs_in_where_a_host_is_named_and_nothing_else_is_asked() {
        for line in [
            "node",
            "alice@node ls -V",
            "-p 2222 node",
            "-p2222 -tt node",
            "-o User=alice -4A node",
            "node -p 22 -v",
            "-- node -V",
            "node ls -- -O",
            "-L 8080:localhost:80 -N node",
            "-oUser=V node",
        ] {
            assert!(logs_in(line), "{line}");
        }
        for line in ["", "-V", "-vV", "-G node", "-Q cipher", "-O check node", "-p 22", "node -V", "-p node"]
        {
            assert!(!logs_in(line), "{line}");
        }
    }
}
