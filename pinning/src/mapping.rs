//! YAML mappings with a known set of fields, and the values that stand in them.

use crate::RoleError;
use crate::role::Unused;
use crate::role_field::Fields;
use crate::yaml::{Key, Node, Place, Value};

/// A mapping all of whose fields are known.
pub(crate) struct Mapping<'n> {
    path: String,
    at: Place,
    entries: &'n [(Key, Node)],
}

impl<'n> Mapping<'n> {
    /// Opens a mapping; nothing at all (`spec:`) is an empty one. Notes the fields that have no effect.
    pub(crate) fn open(
        node: &'n Node,
        path: &str,
        fields: &Fields,
        unused: &mut Vec<Unused>,
    ) -> Result<Self, RoleError> {
        let Some(entries) = node.value.as_map() else {
            let what = if path.is_empty() { "a role" } else { path };
            return Err(node.at.error(format!("{what} must be a mapping, not {}", node.value.kind())));
        };
        let mapping = Self { path: path.to_owned(), at: node.at, entries };
        for (key, _) in entries {
            let field = mapping.field(&key.name);
            if !fields.knows(&key.name) {
                return Err(key.at.error(format!("unknown field {field:?}{}", fields.hint(&key.name))));
            }
            if !fields.uses(&key.name) {
                unused.push(Unused { field, line: key.at.line, column: key.at.column });
            }
        }
        Ok(mapping)
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field's value, unless it is absent or nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// A field's value, or the error that it is missing.
    pub(crate) fn required(&self, name: &str) -> Result<&'n Node, RoleError> {
        self.get(name).ok_or_else(|| self.at.error(format!("{} is missing", self.field(name))))
    }

    /// Reads a field's value, if there is one, with a reader that is told the field's whole name.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'n Node, &str) -> Result<T, RoleError>,
    ) -> Result<Option<T>, RoleError> {
        self.get(name).map(|node| read(node, &self.field(name))).transpose()
    }
}

pub(crate) fn text<'n>(node: &'n Node, path: &str) -> Result<&'n str, RoleError> {
    node.value.as_text().ok_or_else(|| {
        let kind = node.value.kind();
        let quotes = if matches!(node.value, Value::Bool(_) | Value::Whole(_) | Value::Number) {
            ": put it in quotes"
        } else {
            ""
        };
        node.at.error(format!("{path} must be a text, not {kind}{quotes}"))
    })
}

/// A boolean in any spelling that existing role files use: YAML's own, and `yes`, `no`, `on`, `off`, also as texts.
pub(crate) fn boolean(node: &Node, path: &str) -> Result<bool, RoleError> {
    if let Value::Bool(value) = node.value {
        return Ok(value);
    }
    match node.value.as_text().map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "yes" | "on") => Ok(true),
        Some("false" | "no" | "off") => Ok(false),
        _ => Err(node.at.error(format!("{path} must be true or false, not {}", node.value.kind()))),
    }
}

/// One of a few words, each with its meaning.
pub(crate) fn one_of<T: Copy>(node: &Node, path: &str, choices: &[(&str, T)]) -> Result<T, RoleError> {
    let chosen = node.value.as_text().and_then(|word| choices.iter().find(|(name, _)| *name == word));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        node.at.error(format!("{path} must be one of {}", names.join(", ")))
    })
}
