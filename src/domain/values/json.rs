//! How JSON is read where serde alone takes too much.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::values::money::Amount;

/// A number as it was written, as JSON number or as text; never a float in between.
#[derive(Debug, Clone, Copy)]
pub struct Number(pub Option<Amount>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Amount::parse(raw.get().trim_matches('"'))))
    }
}

/// A part that is only shown. What cannot be read is null, and makes no other part unreadable.
#[derive(Debug, Clone, Default)]
pub struct Shown(pub Value);

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        or_missing(deserializer).map(|read| Self(read.unwrap_or_default()))
    }
}

/// For parts that are only shown, or whose shape is assumed: another shape counts as missing.
///
/// # Errors
/// Only where the text is no JSON.
pub fn or_missing<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// An object by its members' names. What serde derives takes a list too, by the members' order.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Reads a body that is an object; `None` for every other one.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let read: Object<T> = serde_json::from_slice(body).ok()?;
    Some(read.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_only_shown_makes_no_other_part_unreadable() {
        #[derive(serde::Deserialize)]
        struct Page {
            id: String,
            #[serde(default)]
            note: Shown,
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        for note in ["\"cut \\ud83d\"", "1e999", &deep, "null", "[1]"] {
            let body = format!("{{\"note\": {note}, \"id\": \"a\"}}");
            let page: Page = object(body.as_bytes()).unwrap_or_else(|| panic!("{note}"));
            assert_eq!((page.id.as_str(), page.note.0.as_str()), ("a", None), "{note}");
        }
    }

    #[derive(Debug, serde::Deserialize)]
    struct Page {
        data: Vec<u8>,
        more: Option<bool>,
    }

    #[test]
    fn a_list_is_no_object_though_its_items_would_do() {
        let read: Page = object(br#"{"data": [1]}"#).unwrap();
        assert_eq!((read.data, read.more), (vec![1], None));
        assert!(serde_json::from_str::<Page>("[[1], null]").is_ok());
        for body in ["[[1], null]", "[]", "null", "7", "\"data\"", ""] {
            assert!(object::<Page>(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_number_is_exact_however_it_is_written() {
        for text in ["600.000000000000000000001", "\"600.000000000000000000001\""] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(number.0, Amount::parse("600.000000000000000000001"), "{text}");
        }
    }
}
