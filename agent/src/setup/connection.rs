//! Connections to ask sshd about: an ordinary one, and one that each `Match` block is meant for.

use std::fs;

/// What `sshd -T -C` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    user: String,
    host: String,
    address: String,
    local_address: String,
    local_port: String,
    /// The block that it is meant for.
    pub(crate) block: Option<String>,
}

impl Connection {
    /// Root's from this very machine.
    pub(crate) fn ordinary(port: &str) -> Self {
        Self {
            user: "root".into(),
            host: "localhost".into(),
            address: "127.0.0.1".into(),
            local_address: "127.0.0.1".into(),
            local_port: port.to_owned(),
            block: None,
        }
    }

    /// One that a block with these criteria is meant for; `None` if this cannot be told from the criteria.
    pub(super) fn of_block(criteria: &str, port: &str) -> Option<Self> {
        let mut connection = Self { block: Some(criteria.to_owned()), ..Self::ordinary(port) };
        let words: Vec<&str> =
            criteria.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty()).collect();
        let mut words = words.iter();
        while let Some(criterion) = words.next() {
            let criterion = criterion.to_ascii_lowercase();
            if criterion == "all" {
                continue;
            }
            let pattern =
                words.next()?.trim_matches('"').split(',').find(|pattern| !pattern.starts_with('!'))?;
            match criterion.as_str() {
                "user" => connection.user = sample(pattern, "someone"),
                "group" => connection.user = member(&sample(pattern, "root"))?,
                "host" => connection.host = sample(pattern, "host"),
                "address" => connection.address = address(pattern),
                "localaddress" => connection.local_address = address(pattern),
                "localport" => connection.local_port = pattern.to_owned(),
                _later_criteria => return None,
            }
        }
        Some(connection)
    }

    /// As `sshd -T -C` takes it.
    pub(super) fn specification(&self) -> String {
        format!(
            "user={},host={},addr={},laddr={},lport={}",
            self.user, self.host, self.address, self.local_address, self.local_port
        )
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        self.block.as_ref().map_or_else(|| "all logins".to_owned(), |block| format!("Match {block}"))
    }
}

/// A text that fits a pattern.
fn sample(pattern: &str, all: &str) -> String {
    if pattern == "*" { all.to_owned() } else { pattern.replace('*', "").replace('?', "a") }
}

/// An address that fits a CIDR, or a pattern of parts.
fn address(pattern: &str) -> String {
    pattern.split('/').next().unwrap_or(pattern).replace(['*', '?'], "1")
}

/// Some member of a local group.
pub(super) fn member(group: &str) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let fields: Vec<&str> =
        groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == group)?;
    if let Some(member) = fields.get(3)?.split(',').find(|member| !member.is_empty()) {
        return Some(member.to_owned());
    }
    let people = fs::read_to_string("/etc/passwd").ok()?;
    let person = people
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|person| person.get(3) == fields.get(2))?;
    Some(person[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_made_up_to_fit_a_blocks_criteria() {
        let of = |criteria| Connection::of_block(criteria, "22").map(|connection| connection.specification());
        let cases = [
            ("all", "user=root,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"),
            ("User !root,git-*", "user=git-,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"),
            (
                "Address 192.0.2.0/24 LocalPort 2222",
                "user=root,host=localhost,addr=192.0.2.0,laddr=127.0.0.1,lport=2222",
            ),
            (
                "Group=root host *.example.com",
                "user=root,host=.example.com,addr=127.0.0.1,laddr=127.0.0.1,lport=22",
            ),
        ];
        for (criteria, expected) in cases {
            assert_eq!(of(criteria).as_deref(), Some(expected), "{criteria}");
        }
        assert_eq!(of("Exec true"), None);
        assert_eq!(of("User !root"), None);
    }
}
