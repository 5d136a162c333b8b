//! The host keys that ssh knows a node by, as `ssh-keygen -F` finds them, hashed names among them.

use std::io;
use std::process::{Command, Stdio};

use cotter_knock::Fingerprint;

use super::Destination;

/// Most keys that are tried: a node has three or four, and some may be old.
const MOST: usize = 8;

/// Those of a destination, in the order in which they stand there; none if it is not known.
///
/// # Errors
/// That `ssh-keygen` cannot be run.
pub fn known_host_keys(destination: &Destination) -> io::Result<Vec<Fingerprint>> {
    let mut found = String::new();
    for file in destination.known_hosts.iter().filter(|file| file.exists()) {
        let mut ssh_keygen = Command::new("ssh-keygen");
        ssh_keygen.arg("-F").arg(&destination.known_as).arg("-f").arg(file).stdin(Stdio::null());
        found.push_str(&String::from_utf8_lossy(&ssh_keygen.output()?.stdout));
    }
    Ok(read(&found))
}

/// The keys in lines of `known_hosts`: none of authorities, which sign host keys, and none that are revoked.
fn read(found: &str) -> Vec<Fingerprint> {
    let (mut keys, mut revoked) = (Vec::new(), Vec::new());
    for line in found.lines() {
        let mut words = line.split_whitespace();
        let of = match words.next() {
            Some("@revoked") => words.next().map(|_names| &mut revoked),
            Some(word) if word.starts_with(['#', '@']) => None,
            Some(_names) => Some(&mut keys),
            None => None,
        };
        let (Some(of), Some(kind), Some(key)) = (of, words.next(), words.next()) else { continue };
        // One of a kind that is not known here is of no use.
        let key = Fingerprint::of_line(&format!("{kind} {key}")).ok();
        of.extend(key.filter(|key| !of.contains(key)));
    }
    keys.retain(|key| !revoked.contains(key));
    keys.truncate(MOST);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqKiIqK";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

    #[test]
    fn keys_are_read_once_each_and_in_their_order() {
        let keys = [OTHER, ONE].map(|line| Fingerprint::of_line(line).unwrap());
        let found = format!(
            "# Host node found: line 1\n|1|salt=|hash= {OTHER}\n\nnode,192.0.2.1 {ONE} a comment\nnode {OTHER}\n"
        );
        assert_eq!(read(&found), keys);
    }

    #[test]
    fn what_is_no_key_of_the_node_itself_is_left_out() {
        let found =
            format!("@cert-authority * {ONE}\nnode {ONE}\nnode ssh-new AAAA\n@revoked * {ONE}\nnode\n");
        assert_eq!(read(&found), []);
        assert_eq!(read(&format!("@cert-authority * {ONE}\n")), []);
    }
}
