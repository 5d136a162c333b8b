//! What sshd tells PAM of how the user proved who they are: `SSH_AUTH_INFO_0`, one method a line (sshd_config(5),
//! `ExposeAuthInfo`).

/// Most lines that are looked at; sshd allows no more methods in one login than this by far.
const MAX_METHODS: usize = 32;

/// One method that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method<'a> {
    /// A certificate, as `type base64`.
    Certificate(&'a str),
    /// A plain public key, as `type base64`.
    Key(&'a str),
    /// Anything else: `password`, `keyboard-interactive/pam`, `gssapi-with-mic`, …
    Other(&'a str),
}

/// All methods, or none if there are more lines than sshd would ever write.
pub(crate) fn methods(auth_info: &str) -> Option<Vec<Method<'_>>> {
    let lines: Vec<&str> = auth_info.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    (lines.len() <= MAX_METHODS).then(|| lines.into_iter().map(method).collect())
}

fn method(line: &str) -> Method<'_> {
    let Some(key) = line.strip_prefix("publickey ") else { return Method::Other(line) };
    let algorithm = key.split(' ').next().unwrap_or_default();
    if algorithm.contains("-cert-v") { Method::Certificate(key) } else { Method::Key(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_apart_line_by_line() {
        let text = "publickey ssh-ed25519-cert-v01@openssh.com AAAA\npublickey ssh-ed25519 AAAA\npassword\n";
        let expected = [
            Method::Certificate("ssh-ed25519-cert-v01@openssh.com AAAA"),
            Method::Key("ssh-ed25519 AAAA"),
            Method::Other("password"),
        ];
        assert_eq!(methods(text).unwrap(), expected);
        assert_eq!(methods("").unwrap(), []);
        assert_eq!(methods(&"password\n".repeat(33)), None);
    }
}
