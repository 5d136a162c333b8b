//! YAML documents as trees whose every node knows its line and column.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::RoleError;

/// A place in a file, from 1; 0 where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl Place {
    pub(crate) fn error(self, what: impl Into<String>) -> RoleError {
        RoleError { line: self.line, column: self.column, what: what.into() }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) value: Value,
}

/// A key of a mapping and where it stands.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) at: Place,
    pub(crate) name: String,
}

/// A value by the YAML 1.2 core schema: `yes`, `on` and `off` are text.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Whole(u64),
    /// Numbers that are no `u64`; nothing here takes them.
    Number,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// A text's content.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A small number.
    pub(crate) fn as_u8(&self) -> Option<u8> {
        if let Self::Whole(number) = self { u8::try_from(*number).ok() } else { None }
    }

    /// A mapping's entries; nothing is a mapping without entries.
    pub(crate) fn as_map(&self) -> Option<&[(Key, Node)]> {
        if let Self::Map(entries) = self { Some(entries) } else { matches!(self, Self::Null).then_some(&[]) }
    }

    /// What it is, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Whole(_) | Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads all documents of a file; empty ones are passed over. Duplicate keys are errors; aliases, depth and size are
/// bounded.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, RoleError> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1024,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 256,
            max_anchors: 256,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 8,
        },
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_saphyr::Error) -> RoleError {
    let at = error.location().map_or(Place { line: 0, column: 0 }, Place::from);
    let said = error.without_snippet().to_string();
    // The place stands in front of our errors already.
    let what = said.replace(&format!(" at line {}, column {}", at.line, at.column), "");
    at.error(what)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Number, Value::Whole))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let node = access.next_value()?;
            map.push((Key { at: key.referenced.into(), name: key.value }, node));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{BytesDeserializer, Error};

    use super::*;

    #[test]
    fn what_yaml_does_not_have_is_refused_by_name() {
        let error = Value::deserialize(BytesDeserializer::<Error>::new(b"x")).unwrap_err();
        assert_eq!(error.to_string(), "invalid type: byte array, expected a YAML value");
    }
}
