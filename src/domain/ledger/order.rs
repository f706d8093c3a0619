//! The order: everything that a claim and its one POST are made from, whatever is bought.

use std::time::Duration;

use jiff::Timestamp;

use crate::action::ordered::Action;
use crate::consent::approval::Grant;
use crate::consent::quote::Quote;
use crate::ledger::names::ChainKey;
use crate::ledger::record::{Cause, Invoice, Record, later};
use crate::provider::gate::Gate;
use crate::values::ids::{RecordName, Subject, VpsId};

/// Attempts that came to nothing are counted for so long.
pub const TRIES_LAST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is claimed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The object that wants it.
    pub subject: Subject,
    /// The chain that its record continues.
    pub chain: ChainKey,
    /// Which attempt of the chain it would be.
    pub attempt: Attempt,
    /// Hash of what the user wrote.
    pub intent: String,
    /// The VPS in the path, or its number on the legacy route.
    pub vps: VpsId,
    /// What is ordered.
    pub action: Action,
    /// The last record of the chain whose call was executed.
    pub follows: Option<RecordName>,
    /// The backup that was made before it, if its object wants one.
    pub saved_by: Option<RecordName>,
    /// The request path.
    pub path: String,
    /// The request body, exactly as it is sent.
    pub body: String,
    /// The approved quote; a legacy estimate has none.
    pub quote: Option<Quote>,
    /// An invoice of HostUp's dry run that asks for more than the quote says.
    pub dearer: Option<Invoice>,
    /// What covers the price; a legacy estimate has none, and what is adopted.
    pub grant: Option<Grant>,
    /// The gates as read.
    pub gates: Vec<Gate>,
    /// `resourceVersion` of the Secret whose key read all this.
    pub secret_version: String,
    /// What a refusal would be caused by.
    pub cause: Cause,
    /// When the readings behind it began.
    pub read_at: Timestamp,
}

/// The place of a call in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Its number in the chain, from 1.
    pub number: u32,
    /// How often the subject was tried in a row, with this one, whatever its generation.
    pub tries: u32,
}

impl Attempt {
    /// The one after `tail`, wanted by `subject`, whose own last record is `last`.
    pub fn after(tail: Option<&Record>, last: Option<&Record>, subject: &Subject, now: Timestamp) -> Self {
        let again = last.filter(|last| {
            last.known.state.came_to_nothing()
                && last.subject.is_of_one_name_with(subject)
                && now < later(last.claimed_by(), TRIES_LAST)
        });
        Self {
            number: tail.map_or(0, |tail| tail.attempt).saturating_add(1),
            tries: again.map_or(0, |last| last.tries).saturating_add(1),
        }
    }
}
