//! The fields that role files may have, and what to say of one that they may not.

/// The fields of one mapping: those with an effect here, and those that are known and have none.
pub(crate) struct Fields {
    pub(crate) used: &'static [&'static str],
    pub(crate) unused: &'static [&'static str],
}

pub(crate) const ROLE: Fields =
    Fields { used: &["kind", "version", "metadata", "spec"], unused: &["sub_kind", "id", "revision"] };

pub(crate) const METADATA: Fields =
    Fields { used: &["name"], unused: &["description", "labels", "expires", "namespace", "id", "revision"] };

pub(crate) const SPEC: Fields = Fields { used: &["options", "allow", "deny"], unused: &[] };

pub(crate) const OPTIONS: Fields = Fields {
    used: &[
        "pin_source_ip",
        "pin_width",
        "max_session_ttl",
        "disconnect_expired_cert",
        "on_new_address",
        "pin_endpoints",
        "require_second_factor",
        "mode",
    ],
    unused: &[
        "cert_extensions",
        "cert_format",
        "client_idle_timeout",
        "create_db_user",
        "create_db_user_mode",
        "create_desktop_user",
        "create_host_user",
        "create_host_user_default_shell",
        "create_host_user_mode",
        "desktop_clipboard",
        "desktop_directory_sharing",
        "device_trust_mode",
        "enhanced_recording",
        "forward_agent",
        "idp",
        "lock",
        "max_connections",
        "max_kubernetes_connections",
        "max_sessions",
        "mfa_verification_interval",
        "permit_x11_forwarding",
        "port_forwarding",
        "record_session",
        "request_access",
        "request_prompt",
        "require_session_mfa",
        "ssh_file_copy",
        "ssh_port_forwarding",
    ],
};

/// Of `spec.allow` and of `spec.deny`.
pub(crate) const CONDITIONS: Fields = Fields {
    used: &["logins"],
    unused: &[
        "account_assignments",
        "app_labels",
        "app_labels_expression",
        "aws_role_arns",
        "azure_identities",
        "cluster_labels",
        "cluster_labels_expression",
        "db_labels",
        "db_labels_expression",
        "db_names",
        "db_permissions",
        "db_roles",
        "db_service_labels",
        "db_service_labels_expression",
        "db_users",
        "desktop_groups",
        "gcp_service_accounts",
        "github_permissions",
        "group_labels",
        "group_labels_expression",
        "host_groups",
        "host_sudoers",
        "impersonate",
        "join_sessions",
        "kubernetes_groups",
        "kubernetes_labels",
        "kubernetes_labels_expression",
        "kubernetes_resources",
        "kubernetes_users",
        "mcp",
        "namespaces",
        "node_labels",
        "node_labels_expression",
        "request",
        "require_session_join",
        "review_requests",
        "rules",
        "spiffe",
        "windows_desktop_labels",
        "windows_desktop_labels_expression",
        "windows_desktop_logins",
        "workload_identity_labels",
        "workload_identity_labels_expression",
    ],
};

pub(crate) const PIN_WIDTH: Fields = Fields { used: &["ipv4", "ipv6"], unused: &[] };

/// Where fields of which mapping belong, to point out a misplaced one.
const HOMES: [(&str, &Fields); 4] = [
    ("the top level", &ROLE),
    ("metadata", &METADATA),
    ("spec.options", &OPTIONS),
    ("spec.allow or spec.deny", &CONDITIONS),
];

impl Fields {
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.used.contains(&name)
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.uses(name) || self.unused.contains(&name)
    }

    /// What to say behind "unknown field": the name that was probably meant, or the place where the field belongs.
    pub(crate) fn hint(&self, name: &str) -> String {
        let near = self.used.iter().chain(self.unused).map(|known| (distance(name, known), known)).min();
        if let Some((changes, known)) = near
            && changes <= 2
            && changes < known.len()
        {
            return format!("; did you mean {known:?}?");
        }
        match HOMES.iter().find(|(_, fields)| fields.knows(name)) {
            Some((home, _)) => format!("; it belongs in {home}"),
            None => String::new(),
        }
    }
}

/// How many letters must be changed, added or taken away to make one name of the other; case, `-` and `_` are passed
/// over.
fn distance(one: &str, other: &str) -> usize {
    let letters = |name: &str| -> Vec<char> {
        let kept = name.chars().filter(|c| !matches!(c, '-' | '_')).take(64);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let (one, other) = (letters(one), letters(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, c) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != d);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changed_letters() {
        for (one, other, changes) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("pinSourceIP", "pin_source_ip", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(one, other), changes, "{one} {other}");
            assert_eq!(distance(other, one), changes, "{other} {one}");
        }
    }

    #[test]
    fn hints_name_what_was_probably_meant() {
        assert_eq!(OPTIONS.hint("pin_sourc_ip"), "; did you mean \"pin_source_ip\"?");
        assert_eq!(OPTIONS.hint("pinSourceIp"), "; did you mean \"pin_source_ip\"?");
        assert_eq!(OPTIONS.hint("modes"), "; did you mean \"mode\"?");
        assert_eq!(CONDITIONS.hint("login"), "; did you mean \"logins\"?");
        assert_eq!(SPEC.hint("pin_source_ip"), "; it belongs in spec.options");
        assert_eq!(OPTIONS.hint("colour_of_the_sky"), "");
        assert_eq!(METADATA.hint("xy"), "", "nothing is left of \"id\" after two changes");
    }
}
