//! Patterns of hosts, as `Host` lines of ssh_config have them: `*`, `?`, and `!` before what is not meant.

use serde::Deserialize;

/// Some of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Whether one of them fits a host by one of its names, and none that begins with `!` does. Small and capital letters are the
    /// same.
    pub fn fit(&self, names: &[&str]) -> bool {
        let fits = |pattern: &str| {
            let pattern = pattern.to_lowercase();
            names.iter().any(|name| fits(pattern.as_bytes(), name.to_lowercase().as_bytes()))
        };
        let (not, meant): (Vec<&String>, Vec<&String>) = self.0.iter().partition(|it| it.starts_with('!'));
        meant.iter().any(|pattern| fits(pattern)) && !not.iter().any(|pattern| fits(&pattern[1..]))
    }
}

/// Whether a text is what a pattern describes.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on if what follows the last star does not fit: the star takes one byte more.
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[here] => (at, here) = (at + 1, here + 1),
            _ => match star {
                Some((before, taken)) => {
                    star = Some((before, taken + 1));
                    (at, here) = (before + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_fits_by_a_pattern_that_means_it() {
        let fit =
            |patterns: &[&str], host| Patterns(patterns.iter().map(|it| (*it).into()).collect()).fit(&[host]);
        for (patterns, host) in [
            (&["db*.example.com"][..], "db1.example.com"),
            (&["db*.example.com"], "DB.Example.com"),
            (&["node?"], "node1"),
            (&["*a*b*"], "xaxxabx"),
            (&["192.0.2.*", "!192.0.2.7"], "192.0.2.77"),
            (&["*"], ""),
        ] {
            assert!(fit(patterns, host), "{patterns:?} {host}");
        }
        for (patterns, host) in [
            (&["db*.example.com"][..], "db1.example.com.evil"),
            (&["node?"], "node"),
            (&["node?"], "node12"),
            (&["*", "!web*"], "web1"),
            (&["!web*"], "db1"),
            (&[], "db1"),
            (&["*a*b"], "xaxxabx"),
        ] {
            assert!(!fit(patterns, host), "{patterns:?} {host}");
        }
        let both = Patterns(vec!["*".into(), "!*.partner.example".into()]);
        assert!(both.fit(&["p1", "p1.example.com"]) && !both.fit(&["p1", "p1.partner.example"]));
    }
}
