//! What ssh's arguments are about, as far as it matters before ssh runs.

use std::ffi::OsString;

/// Options that take a value (OpenSSH 10.0, ssh.c).
const WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";
/// Options with which ssh tells something of itself, or talks to an ssh that is connected already.
const NO_LOGIN: &[u8] = b"VGQO";

/// What is asked of ssh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// To log in somewhere.
    pub logs_in: bool,
    /// To go by another configuration than the usual ones.
    pub names_configuration: bool,
}

impl Asked {
    /// Reads a command line, without the program's name.
    pub fn of(arguments: &[OsString]) -> Self {
        let mut arguments = arguments.iter().map(|argument| argument.as_encoded_bytes());
        let mut asked = Self::default();
        let (mut host, mut options, mut answers_itself) = (false, true, false);
        while let Some(argument) = arguments.next() {
            match argument {
                b"--" if options => options = false,
                [b'-', letters @ ..] if options && !letters.is_empty() => {
                    let value_at = letters.iter().position(|letter| WITH_VALUE.contains(letter));
                    let (alone, valued) = letters.split_at(value_at.unwrap_or(letters.len()));
                    answers_itself |=
                        alone.iter().chain(valued.first()).any(|letter| NO_LOGIN.contains(letter));
                    asked.names_configuration |= valued.first() == Some(&b'F');
                    if valued.len() == 1 {
                        arguments.next();
                    }
                }
                // Behind the host options may stand; behind the first word of the command, none.
                _ if host => break,
                _ => host = true,
            }
        }
        asked.logs_in = host && !answers_itself;
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        Asked::of(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn logs_in(line: &str) -> bool {
        asked(line).logs_in
    }

    #[test]
    fn a_configuration_of_ones_own_is_noticed() {
        for (line, named) in [
            ("-F file node", true),
            ("-4Ffile node", true),
            ("-o F=1 node", false),
            ("node ls -F", false),
            ("node", false),
        ] {
            assert_eq!(asked(line).names_configuration, named, "{line}");
        }
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
