//! The bodies that leave the simulator: a JSON tree that keeps the order of members and the exact
//! text of numbers, so that `0.12` leaves as `0.12`, and that remembers which places the provider's
//! schema calls nullable or an enum, so that switches can act on them.

use std::fmt::Write as _;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

/// A JSON value on its way out.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, by its text.
    Number(String),
    /// A string.
    Text(String),
    /// A string out of a documented list of values.
    Word(String),
    /// A value whose schema also allows `null`.
    Nullable(Box<Json>),
    /// An array.
    List(Vec<Json>),
    /// An object, members in order.
    Object(Vec<(String, Json)>),
    /// Any JSON text, written as it is.
    Raw(String),
}

impl Json {
    /// An object from its members.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
        Json::Object(
            members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// An array from its members.
    pub fn list<T: Into<Json>>(members: impl IntoIterator<Item = T>) -> Json {
        Json::List(members.into_iter().map(Into::into).collect())
    }

    /// A value of a documented enum.
    pub fn word(word: impl Into<String>) -> Json {
        Json::Word(word.into())
    }

    /// A value in a nullable place.
    pub fn nullable(value: impl Into<Json>) -> Json {
        match value.into() {
            Json::Null => Json::Null,
            nullable @ Json::Nullable(_) => nullable,
            value => Json::Nullable(Box::new(value)),
        }
    }

    /// JSON text, kept as written.
    ///
    /// # Panics
    /// If the text is not one JSON value.
    pub fn raw(text: impl Into<String>) -> Json {
        let text = text.into();
        if let Err(error) = serde_json::from_str::<&RawValue>(&text) {
            panic!("not JSON: {text:?}: {error}");
        }
        Json::Raw(text)
    }

    /// Sets the value at a JSON pointer; `*` stands for every member of an array. Objects that are
    /// missing on the way are made.
    pub fn set(&mut self, pointer: &str, value: Json) {
        self.change(&tokens(pointer), Some(&value));
    }

    /// Removes the member at a JSON pointer; `*` as in [`Json::set`].
    pub fn remove(&mut self, pointer: &str) {
        self.change(&tokens(pointer), None);
    }

    /// Adds a member to an object.
    pub(crate) fn push(&mut self, name: &str, value: Json) {
        if let Json::Object(members) = self {
            members.push((name.to_owned(), value));
        }
    }

    fn change(&mut self, tokens: &[String], value: Option<&Json>) {
        let Some((first, rest)) = tokens.split_first() else {
            if let Some(value) = value {
                *self = value.clone();
            }
            return;
        };
        match self {
            Json::Nullable(inner) => inner.change(tokens, value),
            Json::List(members) if first == "*" => {
                for member in members {
                    member.change(rest, value);
                }
            }
            Json::List(members) => {
                let Some(index) = first.parse().ok().filter(|index| *index < members.len()) else {
                    return;
                };
                if rest.is_empty() && value.is_none() {
                    members.remove(index);
                } else {
                    members[index].change(rest, value);
                }
            }
            Json::Object(members) => {
                let found = members.iter().position(|(name, _)| name == first);
                match (found, value) {
                    (Some(index), None) if rest.is_empty() => {
                        members.remove(index);
                    }
                    (Some(index), _) => members[index].1.change(rest, value),
                    (None, Some(_)) => {
                        members.push((first.clone(), Json::Object(Vec::new())));
                        let last = members.len() - 1;
                        members[last].1.change(rest, value);
                    }
                    (None, None) => {}
                }
            }
            place => {
                if value.is_some() {
                    *place = Json::Object(Vec::new());
                    place.change(tokens, value);
                }
            }
        }
    }

    /// `null` wherever the schema allows it.
    pub(crate) fn with_nulls(self) -> Json {
        self.map(&|value| match value {
            Json::Nullable(_) => Json::Null,
            value => value,
        })
    }

    /// A value from no documented list wherever the schema has an enum.
    pub(crate) fn with_unknown_words(self) -> Json {
        self.map(&|value| match value {
            Json::Word(_) => Json::Text("levitating".to_owned()),
            value => value,
        })
    }

    /// A member that no page knows in every object.
    pub(crate) fn with_extra_fields(self) -> Json {
        self.map(&|value| match value {
            Json::Object(mut members) => {
                members.push((
                    "xFutureField".to_owned(),
                    Json::Raw(r#"{"deep":[1,-2.5e3,null,true,"åäö \u0000",{}]}"#.to_owned()),
                ));
                Json::Object(members)
            }
            value => value,
        })
    }

    /// Applies a change to every value, the outer ones first.
    fn map(self, change: &dyn Fn(Json) -> Json) -> Json {
        match change(self) {
            Json::Nullable(inner) => Json::Nullable(Box::new(inner.map(change))),
            Json::List(members) => Json::List(members.into_iter().map(|m| m.map(change)).collect()),
            Json::Object(members) => Json::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, value.map(change)))
                    .collect(),
            ),
            value => value,
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) | Json::Raw(text) => out.push_str(text),
            Json::Text(text) | Json::Word(text) => write_string(out, text),
            Json::Nullable(inner) => inner.write(out),
            Json::List(members) => {
                out.push('[');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    member.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn write_string(out: &mut String, text: &str) {
    let is_special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    out.push('"');
    let mut rest = text;
    // Only ASCII is special, so both sides of it are text.
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Json {
        Json::Text(value)
    }
}

impl From<&String> for Json {
    fn from(value: &String) -> Json {
        Json::Text(value.clone())
    }
}

impl From<Decimal> for Json {
    fn from(value: Decimal) -> Json {
        Json::Number(value.to_string())
    }
}

macro_rules! from_integer {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Json {
            fn from(value: $kind) -> Json {
                Json::Number(value.to_string())
            }
        }
    )*};
}
from_integer!(i64, u16, u32, u64, usize);

/// An absent value is `null`, a present one stands in a nullable place.
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Json::nullable)
    }
}
