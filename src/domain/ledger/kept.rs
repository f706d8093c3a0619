//! A record in little room, and what it counts for.

use std::sync::Arc;

use jiff::Timestamp;

use super::about::About;
use super::money::{Fund, Price};
use super::name::{Mark, TokenKey};
use super::window::{Call, Weight};
use super::{KeyPlace, Purse};
use crate::ledger::record::State;

/// A record as it is kept. There may be a hundred thousand: another field is another megabyte.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct Kept {
    pub(super) made: i64,
    /// Of a record that can be read.
    pub(super) purse: Option<Arc<Purse>>,
    pub(super) price: Price,
    pub(super) about: About,
    pub(super) hold: Option<Box<Hold>>,
    pub(super) token: Option<TokenKey>,
    /// Of a record that has a VM.
    pub(super) key: Option<Arc<KeyPlace>>,
    pub(super) has_vm: bool,
    pub(super) has_ended: bool,
    /// `None` if it cannot be read.
    pub(super) state: Option<State>,
    pub(super) evidence: Evident,
    /// This installation made it, which never changes. One that cannot be read may be ours, and counts.
    pub(super) ours: bool,
    /// The list that showed it last.
    pub(super) list: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) secret: Mark,
    pub(super) until: Timestamp,
}

/// As much of the evidence as is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evident {
    Nothing,
    FoundBeforeClaim,
    Something,
}

impl Kept {
    pub(super) fn fund(&self) -> Fund {
        match self.state {
            Some(State::Sending | State::Accepted | State::Unknown) => Fund::Open,
            Some(State::Succeeded | State::Failed) if self.has_ended => Fund::Unspent,
            Some(State::Succeeded) => Fund::Spent,
            // HostUp bills it.
            Some(State::Failed) if self.has_vm => Fund::Spent,
            None
            | Some(
                State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned,
            ) => Fund::Unspent,
        }
    }

    pub(super) fn accounts_for_a_vm(&self) -> bool {
        match self.state {
            Some(State::Sending | State::Accepted | State::Unknown | State::Succeeded) => true,
            None
            | Some(
                State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned,
            ) => false,
        }
    }

    pub(super) fn call(&self) -> Call<'_> {
        let unsent = self.state == Some(State::NotSent) || self.evidence == Evident::FoundBeforeClaim;
        let weight = if unsent {
            Weight::Nobodys
        } else if self.state == Some(State::Rejected) {
            Weight::Own
        } else {
            Weight::Everyones
        };
        Call {
            made: self.made,
            namespace: self.purse.as_ref().map(|purse| &purse.namespace),
            weight,
        }
    }

    pub(super) fn asks(&self) -> bool {
        self.state == Some(State::Unknown) && self.evidence != Evident::Nothing
    }

    pub(super) fn left_a_vm_billing(&self) -> bool {
        self.state == Some(State::Failed) && self.has_vm && self.provided().is_some()
    }

    /// The VM of a call that has ended, and the key of the call, while HostUp provides it.
    pub(super) fn provided(&self) -> Option<(&Arc<KeyPlace>, Mark)> {
        let has_vm = matches!(self.state, Some(State::Succeeded | State::Failed)) && !self.has_ended;
        let key = self.key.as_ref().filter(|_| has_vm && self.ours)?;
        Some((key, self.about.result().or(self.about.resized())?))
    }
}
