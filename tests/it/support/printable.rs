//! Text that nobody should store, show or follow, and what is to become of it.

use serde_json::{Value, json};

use super::{Operator, TestEnv};

/// What people must never be shown: escape sequences, line breaks that forge a log line, marks that turn
/// the direction of text or hide in it, and far too much of it.
pub fn evil() -> String {
    let marks: String = [
        '\u{0}',
        '\u{7}',
        '\u{8}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200f}',
        '\u{2028}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{fffb}',
        '\u{e0041}',
    ]
    .iter()
    .collect();
    let forged = "\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\n\u{1b}[2J\u{1b}]0;title\u{7}";
    format!("evil {marks}{forged} {}", "å\u{202e}\u{1b}[31m".repeat(2_000))
}

/// `text` as JSON.
pub fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// All that the operator stores: restores, configurations, records and events, as they stand in the API server.
pub async fn everything(env: &TestEnv) -> Vec<Value> {
    use k8s_openapi::api::events::v1::Event;
    let all = kube::api::ListParams::default();
    let mut objects = env.records().await;
    for kind in [env.restores(), env.configs()] {
        for object in kind.list(&all).await.unwrap() {
            objects.push(serde_json::to_value(object).unwrap());
        }
    }
    let events: kube::Api<Event> = kube::Api::namespaced(env.client.clone(), &env.namespace);
    for event in events.list(&all).await.unwrap() {
        objects.push(serde_json::to_value(event).unwrap());
    }
    objects
}

/// Every stored object is of a bearable size and holds nothing unprintable.
pub async fn stored_is_printable(env: &TestEnv) {
    let objects = everything(env).await;
    assert!(objects.len() > 2);
    for object in objects {
        let size = object.to_string().len();
        assert!(size < 200 * 1024, "{size} bytes: {}", object["metadata"]["name"]);
        assert_printable(&object);
    }
}

fn assert_printable(value: &Value) {
    match value {
        Value::String(text) => {
            let bad = text.chars().find(|c| is_unprintable(*c));
            assert!(bad.is_none(), "{bad:?} in {text:?}");
        }
        Value::Array(list) => list.iter().for_each(assert_printable),
        // The field manager's own bookkeeping holds nothing from outside.
        Value::Object(members) => members.values().for_each(assert_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Controls, and what Unicode calls format characters: they are not seen, and change how the rest is.
fn is_unprintable(c: char) -> bool {
    let formats = [
        0xad..=0xad,
        0x600..=0x605,
        0x61c..=0x61c,
        0x6dd..=0x6dd,
        0x70f..=0x70f,
        0x180e..=0x180e,
        0x200b..=0x200f,
        0x2028..=0x202e,
        0x2060..=0x206f,
        0xfeff..=0xfeff,
        0xfff9..=0xfffb,
        0xe0000..=0xe0fff,
    ];
    c.is_control() || formats.iter().any(|range| range.contains(&u32::from(c)))
}

/// Every line of the log is one JSON object, of a bearable length and without a control.
pub fn logged_is_json(operator: &Operator) {
    let lines = operator.log();
    assert!(lines.len() > 5);
    for line in lines {
        let read: Result<Value, _> = serde_json::from_str(&line);
        let is_line = read.is_ok_and(|read| read["level"].is_string() && read["timestamp"].is_string());
        assert!(is_line, "no line of JSON: {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() < 20_000, "a line of {} bytes", line.len());
    }
}

/// The most memory that the process ever held, in kB.
pub fn peak_memory(operator: &Operator) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
