//! The list of VPSs: pages, each an answer of its own, between lines of `---`. It is complete, or an error.

use std::borrow::Cow;

use hostup_operator::domain::consent::price::Size;
use hostup_operator::domain::ledger::names::VmToken;
use hostup_operator::domain::provider::inventory::{self, Sighting};
use hostup_operator::domain::values::ids::{InstanceId, VpsId};
use serde_json::Value;
use url::Url;

use crate::account::{Asked, done};
use crate::answer::Answer;
use crate::promise;
use crate::repeat::split;

/// Reads all pages.
pub fn run(input: &[u8]) {
    let mut pages = Vec::new();
    let mut rest = input;
    while let Some((page, after)) = split(rest, b"\n---\n") {
        pages.push(Answer::read(page));
        rest = after;
    }
    pages.push(Answer::read(rest));
    // A key that no input has, for a cursor that has it is masked.
    let asked = Asked::with_key("hup_of_the_list", pages.iter().map(Answer::response));
    let listed = done(asked.account.list_vps());
    let urls = asked.urls();
    assert!(urls.len() <= 200, "{} pages", urls.len());
    let vms = match listed {
        Ok(vms) => vms,
        Err(error) => return promise::shown(&error.to_string(), 600),
    };
    let mut entries = Vec::new();
    let mut cursor = None;
    for (n, url) in urls.iter().enumerate() {
        let page = pages.get(n).expect("no page came for this question");
        assert!(
            (200..300).contains(&page.status),
            "a page of status {}",
            page.status
        );
        assert_eq!(asked_from(url), cursor, "page {n}");
        let Some(page) = promise::json(page.body) else {
            return;
        };
        let more = page["hasMore"].as_bool();
        let next = page["nextCursor"].as_str().map(str::to_owned);
        let is_last = more == Some(false);
        assert_ne!(page["success"], false, "a page that says that it failed");
        assert_eq!(is_last, n + 1 == urls.len(), "page {n}: {page}");
        entries.extend(page["data"].as_array().expect("a page has entries").clone());
        cursor = next;
    }
    assert_eq!(vms.len(), entries.len(), "an entry is missing");
    for (vm, entry) in vms.iter().zip(&entries) {
        assert!(entry["id"].is_string(), "{entry}");
        promise::shown(vm.id.as_str(), 64);
    }
    found(&vms, &entries);
}

fn asked_from(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(name, _)| name == "cursor")
        .map(|(_, cursor): (_, Cow<'_, str>)| cursor.into_owned())
}

/// A VM whose name has the token keeps absence from being concluded.
fn found(vms: &[inventory::Vm], entries: &[Value]) {
    let source = VpsId::new("vps_source");
    let token = VmToken::new(&InstanceId::new("it"), "shop", "web");
    let ordered = Size {
        cpu_cores: 2,
        memory_gb: 4,
        storage_gb: 80,
    };
    let ends_in_it = |entry: &Value| {
        let name = entry["name"].as_str().unwrap_or_default();
        entry["id"] != "vps_source" && name.len() <= 64 && name.ends_with(&format!("-{}", token.as_str()))
    };
    let sighting = inventory::look_for(vms, &token, &source, ordered);
    assert!(
        sighting != Sighting::None || !entries.iter().any(ends_in_it),
        "it is there"
    );
}
