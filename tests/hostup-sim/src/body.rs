//! Reading a JSON body: what every v2 and legacy route refuses alike.

use serde_json::{Map, Value};

use crate::http::Incoming;
use crate::problem::Problem;

/// The members of a JSON object, or the 400 that refuses what is none.
pub(crate) fn members(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let at_root = |detail: &str| invalid(vec![(String::new(), detail.to_owned())]);
    if !content_type.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(at_root("The content type must be application/json."));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(at_root("The body must be an object.")),
        Err(_) => Err(at_root("The body is not valid JSON.")),
    }
}

/// The same, of a request.
pub(crate) fn members_of(incoming: &Incoming) -> Result<Map<String, Value>, Problem> {
    members(incoming.header("content-type"), &incoming.body)
}

/// The same, of a request that needs no body.
pub(crate) fn optional_members_of(incoming: &Incoming) -> Result<Map<String, Value>, Problem> {
    if incoming.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    members_of(incoming)
}

/// What refuses the members that a route does not know.
pub(crate) fn unknown_members(members: &Map<String, Value>, known: &[&str]) -> Vec<(String, String)> {
    let unknown = members.keys().filter(|name| !known.contains(&name.as_str()));
    unknown
        .map(|name| (format!("/{name}"), format!("`{name}` is not a known field.")))
        .collect()
}

/// `invalid_request` with its pointers.
pub(crate) fn invalid(errors: Vec<(String, String)>) -> Problem {
    Problem {
        errors,
        ..Problem::new(400, "invalid_request")
    }
}

/// A whole number in a range, or why it is none.
pub(crate) fn integer(name: &str, value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let number = value.as_u64().and_then(|value| u32::try_from(value).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{name}` must be an integer from {least} to {most}."))
}

/// Whether a body readably says this of a member.
pub(crate) fn says(body: &[u8], name: &str, value: bool) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|body| body.get(name).and_then(Value::as_bool) == Some(value))
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
