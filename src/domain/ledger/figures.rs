//! The figures of all records.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Spending;
use crate::ledger::record::State;

/// What the gauges show of the records of this installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many are in each state that any is in.
    pub states: HashMap<State, usize>,
    /// When the oldest of each state that is not final was claimed.
    pub oldest: HashMap<State, Timestamp>,
    /// How many cannot be read.
    pub unreadable: usize,
    /// How many wait for a person's answer.
    pub waiting_for_a_person: usize,
    /// How many failed and left a VM.
    pub left_billing: usize,
    /// The money.
    pub money: Vec<Spending>,
}
