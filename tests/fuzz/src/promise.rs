//! What is promised of everything that is read.

use std::time::Duration;

use hostup_operator::domain::action::said::Said;
use hostup_operator::domain::ledger::record::{Invoice, PaymentPage};
use hostup_operator::domain::provider::gate::Gate;
use hostup_operator::domain::values::text::Text;
use serde_json::Value;

/// Safety sentence 12: no more than so many characters, and none that moves, hides or colours what follows.
pub fn shown(text: &str, most: usize) {
    assert!(
        text.chars().count() <= most,
        "more than {most} characters: {text:?}"
    );
    for c in text.chars() {
        let blank = c.is_whitespace() && c != ' ';
        let turns = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        assert!(!(c.is_control() || blank || turns), "{c:?} in {text:?}");
    }
}

/// The same of a text, with the ellipsis that it may end with.
pub fn text(text: &Text, most: usize) {
    shown(text.as_str(), most + 1);
}

/// What HostUp said, and how it is told.
pub fn said(said: &Said) {
    for (part, most) in [
        (&said.code, Said::CODE),
        (&said.words, Said::WORDS),
        (&said.request, Said::REQUEST),
    ] {
        if let Some(part) = part {
            text(part, most);
        }
    }
    shown(&said.cited(""), 750);
}

/// The texts of an invoice.
pub fn invoice(invoice: &Invoice) {
    text(&invoice.id, 64);
    if let Some(due) = &invoice.due_at {
        text(due, 64);
    }
    if let Some(PaymentPage::OfThePanel(url)) = &invoice.payment_page {
        let host = url.as_str().strip_prefix("https://cloud.hostup.se/");
        assert!(host.is_some_and(|path| !path.starts_with('/')), "{url}");
    }
    shown(&invoice.to_string(), 300);
    shown(&invoice.where_to_pay(), 700);
}

/// The texts of gates, as the status shows them.
pub fn gates(gates: &[Gate]) {
    for gate in gates {
        for part in gate.code.iter().chain(&gate.reason) {
            text(part, Text::LIMIT);
        }
        shown(&gate.describe(), 700);
    }
}

/// Safety sentence 9: from a second to fifteen minutes.
pub fn wait(wait: Duration) {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(15 * 60);
    assert!(bounds.contains(&wait), "a wait of {wait:?}");
}

/// What the body says, as another reader has it; `None` where that one takes less: a number that no float can be, half a
/// character.
pub fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}
