//! Which principal of a certificate admits a login, and the line that tells sshd so.

use crate::{Denial, LoginReason};

/// The largest principals file that is looked at, in bytes.
const MAX_PRINCIPALS_FILE: usize = 1024 * 1024;

/// The principal that admits a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The certificate's principal.
    pub(crate) principal: String,
    /// What AuthorizedPrincipalsCommand prints for it.
    pub(crate) line: String,
}

fn not_allowed(detail: impl Into<String>) -> Denial {
    Denial::new(LoginReason::PrincipalNotAllowed, detail)
}

/// Admits a login that is itself, exactly, one of the principals. A certificate without principals admits nobody.
///
/// # Errors
/// `principal_not_allowed`.
pub(crate) fn by_name(principals: &[String], login: &str) -> Result<Admitted, Denial> {
    // The line is read again by sshd, where blanks and `#` would divide it.
    if login.is_empty() || login.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(not_allowed(format!("{login:?} is no login name")));
    }
    match principals.iter().find(|principal| *principal == login) {
        Some(principal) => Ok(Admitted { principal: principal.clone(), line: login.to_owned() }),
        None => {
            Err(not_allowed(format!("{login:?} is not among the certificate's principals {principals:?}")))
        }
    }
}

/// Admits a login if one of the lines of its principals file names one of the principals: the first such line. The file
/// is read as sshd reads `AuthorizedPrincipalsFile` (`process_principals` in auth2-pubkeyfile.c): `#` begins a comment
/// wherever it stands, the last word is the principal, what precedes it are key options.
///
/// # Errors
/// `principal_not_allowed`.
pub(crate) fn by_file(principals: &[String], content: &str) -> Result<Admitted, Denial> {
    if content.len() > MAX_PRINCIPALS_FILE {
        return Err(not_allowed(format!("the principals file is longer than {MAX_PRINCIPALS_FILE} bytes")));
    }
    let admits = |line| read_line(line).filter(|admitted| principals.contains(&admitted.principal));
    content.split('\n').find_map(admits).ok_or_else(|| {
        not_allowed(format!("the principals file names none of the principals {principals:?}"))
    })
}

fn read_line(line: &str) -> Option<Admitted> {
    let line = line.split('#').next().unwrap_or_default().trim_matches([' ', '\t']);
    if line.is_empty() || line.contains(|c: char| c.is_control() && c != '\t') {
        return None;
    }
    let (options, principal) = match line.rfind(' ').or_else(|| line.rfind('\t')) {
        Some(blank) => line.split_at(blank),
        None => ("", line),
    };
    let principal = principal.trim_start_matches([' ', '\t']);
    let admitted = || Admitted { principal: principal.to_owned(), line: line.to_owned() };
    quotes_are_closed(options).then(admitted)
}

/// Whether every quoted string of key options ends: else the last word would be part of one. `\"` is no quote, as in
/// sshd, which knows no other escape.
fn quotes_are_closed(options: &str) -> bool {
    options.replace("\\\"", "").matches('"').count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_login_must_be_a_principal_exactly() {
        let principals = names(&["alice", "deploy"]);
        assert_eq!(by_name(&principals, "deploy").unwrap().line, "deploy");
        for login in ["Alice", "alic", "alice ", "", "*"] {
            let denial = by_name(&principals, login).unwrap_err();
            assert_eq!(denial.reason, LoginReason::PrincipalNotAllowed, "{login:?}");
        }
        assert!(by_name(&[], "alice").is_err());
    }

    #[test]
    fn a_login_that_would_divide_the_line_is_refused() {
        for login in ["a b", "a\tb", "a\nb", "a#b", "no-pty a", "a\0"] {
            assert!(by_name(&names(&[login]), login).is_err(), "{login:?}");
        }
        assert!(by_name(&names(&[""]), "").is_err());
    }

    #[test]
    fn the_file_is_read_as_sshd_reads_it() {
        let file = "# staff\n\n  alice@example.com  \nno-pty,command=\"echo a b\"\tops@example.com # on call\n\
                    command=\"say \\\"hi\\\" now\" dev@example.com\n";
        let line = |principal| by_file(&names(&[principal]), file).map(|admitted| admitted.line);
        assert_eq!(line("alice@example.com").unwrap(), "alice@example.com");
        assert_eq!(line("dev@example.com").unwrap(), "command=\"say \\\"hi\\\" now\" dev@example.com");
        for principal in ["staff", "call", "b\"", "echo", "", "no-pty", "alice"] {
            assert!(line(principal).is_err(), "{principal:?}");
        }
    }

    #[test]
    fn the_last_space_divides_even_before_a_tab() {
        // sshd looks for a space first and for a tab only if there is none.
        assert!(by_file(&names(&["ops"]), "command=\"a b\"\tops").is_err());
        assert_eq!(by_file(&names(&["ops"]), "no-pty\tops").unwrap().principal, "ops");
        assert_eq!(by_file(&names(&["ops"]), "no-pty \t ops").unwrap().principal, "ops");
    }

    #[test]
    fn a_word_inside_an_open_quote_is_no_principal() {
        assert!(by_file(&names(&["alice"]), "command=\"echo alice").is_err());
        assert!(by_file(&names(&["alice"]), "command=\"echo \\\" alice").is_err());
        assert!(by_file(&names(&["alice"]), "command=\"echo \\\\\" alice").is_err());
        assert!(by_file(&names(&["alice"]), "alice\r\n").is_err());
    }

    #[test]
    fn the_first_matching_line_counts() {
        let file = "bob\nno-pty alice\nalice\n";
        assert_eq!(by_file(&names(&["x", "alice"]), file).unwrap().line, "no-pty alice");
    }

    #[test]
    fn a_huge_file_admits_nobody() {
        let file = |len: usize| format!("alice\n{}", "#".repeat(len - 6));
        assert!(by_file(&names(&["alice"]), &file(1_048_576)).is_ok());
        assert!(by_file(&names(&["alice"]), &file(1_048_577)).is_err());
    }
}
