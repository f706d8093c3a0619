//! The fields of an object. `Value::pointer` unescapes each name on its way, which took a twentieth of each life.

use serde_json::Value;

/// The field at a path such as `/status/conditions`. The path has only names of fields: no `~1`, no index of a list.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/')
        .skip(1)
        .try_fold(object, |part, name| part.get(name))
}

/// The text at a path, or nothing.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The value of an annotation, or nothing.
pub fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = at(object, "/metadata/annotations");
    let value = annotations.and_then(|annotations| annotations.get(name));
    value.and_then(Value::as_str).unwrap_or_default()
}
