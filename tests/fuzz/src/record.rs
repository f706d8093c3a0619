//! A record as somebody may have written it: it cannot be read, or it means the same once it was written again.

use hostup_operator::api::operation::{VpsOperation, VpsOperationStatus};
use hostup_operator::api::stored::Stored;
use hostup_operator::api::{entry, known_status, record};
use hostup_operator::domain::ledger::record::Outcome;
use hostup_operator::domain::values::text::Text;

use crate::account::now;
use crate::promise;

/// One object, as the ledger and as its index take it in.
pub fn run(input: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored<VpsOperation>>(input) else {
        return;
    };
    let listed = entry(&stored).content;
    let mut object = match stored.0 {
        Ok(object) => object,
        Err(unreadable) => {
            assert_eq!(listed, None);
            return promise::shown(&unreadable.why, 301);
        }
    };
    let listed = listed.expect("a record that can be read is in the index");
    let Ok(read) = record(&object) else {
        return;
    };
    assert_eq!(
        (listed.state, listed.evidence),
        (read.known.state, read.known.evidence)
    );
    assert_eq!(listed.instance, read.claim.instance);
    assert_eq!(listed.not_before, read.known.not_before);
    promise::text(&read.known.message, 1000);
    if let Some(invoice) = &read.known.invoice {
        let due = invoice.due_at.iter();
        due.chain([&invoice.id])
            .for_each(|text| promise::text(text, Text::LIMIT));
    }
    promise::gates(&read.gates);
    let mut written = |known: &Outcome| {
        object.status = Some(known_status(
            known,
            &VpsOperationStatus::default(),
            read.subject.generation,
            now(),
        ));
        let text = serde_json::to_string(&object).expect("a record can be written");
        let again: VpsOperation = serde_json::from_str(&text).expect("what was written can be read");
        record(&again).expect("what was written is understood").known
    };
    let once = written(&read.known);
    // Amounts are rounded up as they are shown, once.
    let known = Outcome {
        invoice: once.invoice.clone(),
        estimate: once.estimate.clone(),
        ..read.known
    };
    assert_eq!(once, known);
    assert_eq!(written(&once), once);
}
