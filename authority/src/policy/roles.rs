//! What becomes of roles from one publication to the next.

use std::collections::BTreeMap;

use cotter_api::Rules;
use pinning::Role;

use crate::audit::{Audit, Subject, What};

/// Names of roles.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleChanges {
    /// There were none of that name before.
    pub(crate) added: Vec<String>,
    /// They say something else.
    pub(crate) changed: Vec<String>,
    /// There are none of that name any more.
    pub(crate) removed: Vec<String>,
}

impl RoleChanges {
    /// From what was published, as JSON, to what is now. What a later version has published and this one does not
    /// understand had no roles.
    pub(super) fn between(before: Option<&str>, after: &Rules) -> Self {
        let before = before.and_then(|text| serde_json::from_str(text).ok());
        let before = before.and_then(|raw| Rules::read(&raw).ok()).unwrap_or_default();
        let (before, after) = (by_name(&before), by_name(after));
        let names = |roles: &BTreeMap<String, Role>, is: &dyn Fn(&str, &Role) -> bool| {
            roles.iter().filter(|(name, role)| is(name, role)).map(|(name, _)| name.clone()).collect()
        };
        Self {
            added: names(&after, &|name, _| !before.contains_key(name)),
            changed: names(&after, &|name, role| before.get(name).is_some_and(|before| before != role)),
            removed: names(&before, &|name, _| !after.contains_key(name)),
        }
    }

    /// Writes them, if there are any.
    pub(crate) fn write(self, audit: &Audit) {
        if !self.is_empty() {
            let Self { added, changed, removed } = self;
            audit.write(What::RolesChanged { added, changed, removed }, Subject::default());
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What counts of each role: not where it stands in its file.
fn by_name(rules: &Rules) -> BTreeMap<String, Role> {
    let roles = rules.roles().unwrap_or_default().into_iter();
    roles.map(|role| (role.name.clone(), Role { line: 0, without_effect: Vec::new(), ..role })).collect()
}

#[cfg(test)]
mod tests {
    use cotter_api::RoleFile;

    use super::*;

    fn rules(roles: &[(&str, bool)]) -> Rules {
        let text = |(name, pins): &(&str, bool)| {
            format!(
                "kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {{options: {{pin_source_ip: {pins}}}}}\n"
            )
        };
        let text = roles.iter().map(text).collect::<Vec<_>>().join("---\n");
        Rules::new(Vec::new(), vec![RoleFile { name: "a.yaml".into(), text }], Vec::new())
    }

    #[test]
    fn roles_come_go_and_change_and_where_they_stand_matters_not() {
        let before = serde_json::to_string(&rules(&[("a", true), ("b", true), ("c", false)])).unwrap();
        let changes = RoleChanges::between(Some(&before), &rules(&[("d", true), ("c", true), ("b", true)]));
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (added, changed, removed) = (names(&["d"]), names(&["c"]), names(&["a"]));
        assert_eq!(changes, RoleChanges { added, changed, removed });
        assert!(
            RoleChanges::between(Some(&before), &rules(&[("c", false), ("b", true), ("a", true)])).is_empty()
        );
        assert_eq!(RoleChanges::between(None, &rules(&[("a", true)])).added, ["a"]);
        assert_eq!(RoleChanges::between(Some("{\"format\": 2}"), &rules(&[("a", true)])).added, ["a"]);
    }
}
