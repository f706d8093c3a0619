//! The paid options of a VPS: what HostUp offers, what a person wants, and what differs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::consent::price::Size;
use crate::provider::gate::ProviderGate;
use crate::provider::gate::{Gate, GateName};
use crate::provider::preflight::LARGEST;
use crate::values::money::Amount;
use crate::values::text::{self, Text};

/// Objections that are told at once; each may list many words of HostUp's.
const MOST_OBJECTIONS: usize = 5;

/// The value of an option, as a person or HostUp wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// A number.
    Number(Amount),
    /// On or off.
    Flag(bool),
    /// A word.
    Word(Text),
}

impl OptionValue {
    /// Most characters that a word keeps.
    pub const LONGEST_WORD: usize = 256;

    /// A word, bounded and printable.
    pub fn word(raw: &str) -> Self {
        Self::Word(Text::bounded(raw, Self::LONGEST_WORD))
    }

    /// Reads a whole value of a JSON body; `None` for what is no primitive value.
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Amount::parse(&number.to_string()).map(Self::Number),
            Value::Bool(flag) => Some(Self::Flag(*flag)),
            Value::String(word) => Some(Self::word(word)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The value as it is sent.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => serde_json::from_str(&number.plain()).unwrap_or(Value::Null),
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Word(word) => Value::String(word.to_string()),
        }
    }

    /// As a number; HostUp writes numbers as text in places.
    pub fn number(&self) -> Option<Amount> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Word(word) => Amount::parse(word.as_str()),
            Self::Flag(_) => None,
        }
    }

    /// As on or off, however it is written.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            Self::Word(word) if word.as_str().eq_ignore_ascii_case("true") => Some(true),
            Self::Word(word) if word.as_str().eq_ignore_ascii_case("false") => Some(false),
            Self::Number(_) | Self::Word(_) => match self.number() {
                Some(number) if number == Amount::ZERO => Some(false),
                Some(number) if number == Amount::ONE => Some(true),
                Some(_) | None => None,
            },
        }
    }

    /// Whether both mean the same: `3`, `3.0` and `"3"` do, and so do `true`, `"true"` and `1`.
    pub fn means(&self, other: &Self) -> bool {
        if let (Some(this), Some(other)) = (self.flag(), other.flag()) {
            return this == other;
        }
        match (self.number(), other.number()) {
            (Some(this), Some(other)) => this == other,
            (_, _) => self.to_string() == other.to_string(),
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.write_str(&number.plain()),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// Options by key.
pub type Values = BTreeMap<String, OptionValue>;

/// The body's form of `values`.
pub fn to_json(values: &Values) -> Value {
    let members = values.iter().map(|(key, value)| (key.clone(), value.to_json()));
    Value::Object(members.collect::<Map<String, Value>>())
}

/// How an option is chosen (options page); a word that we do not know is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionKind {
    /// A number on a scale.
    Slider,
    /// A number of pieces.
    Quantity,
    /// On or off.
    Toggle,
    /// Free text.
    Input,
    /// One of several values.
    Select,
    /// A word that no page has.
    Other(Text),
}

impl OptionKind {
    /// Reads HostUp's word.
    pub fn read(word: &str) -> Self {
        match word {
            "slider" => Self::Slider,
            "quantity" => Self::Quantity,
            "toggle" => Self::Toggle,
            "input" => Self::Input,
            "select" => Self::Select,
            other => Self::Other(Text::bounded(other, 40)),
        }
    }
}

/// One option of a VPS, as HostUp offers it (options page; the page is cut, so the names of limits,
/// step, values and gate are assumed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// `key`.
    pub key: String,
    /// `label`; empty where HostUp names none.
    pub label: Text,
    /// `type`.
    pub kind: OptionKind,
    /// What it is at the moment; `None` where HostUp does not show it.
    pub current: Option<OptionValue>,
    /// Least number.
    pub min: Option<Amount>,
    /// Largest number.
    pub max: Option<Amount>,
    /// Distance of two numbers, counted from the least one.
    pub step: Option<Amount>,
    /// The values that may be chosen; empty where any may.
    pub values: Vec<OptionValue>,
    /// Whether it may be changed; `None` where HostUp says nothing of it.
    pub gate: Option<ProviderGate>,
}

impl Offer {
    /// Most characters of a label.
    pub const LONGEST_LABEL: usize = 60;

    /// The key, with HostUp's label where that says more.
    fn named(&self) -> String {
        let label = self.label.as_str().trim();
        if label.is_empty() || label.eq_ignore_ascii_case(&self.key) {
            self.key.clone()
        } else {
            format!("{} ({label})", self.key)
        }
    }

    /// Why `wanted` cannot be ordered; `None` if nothing is known against it.
    fn objection(&self, wanted: &OptionValue) -> Option<String> {
        if !self.values.is_empty() {
            let listed: Vec<String> = self.values.iter().take(20).map(OptionValue::to_string).collect();
            let offered = self.values.iter().any(|value| value.means(wanted));
            return (!offered).then(|| format!("{wanted} is not one of {}", listed.join(", ")));
        }
        match self.kind {
            OptionKind::Toggle => wanted
                .flag()
                .is_none()
                .then(|| format!("{wanted} is neither true nor false")),
            OptionKind::Slider | OptionKind::Quantity => match wanted.number() {
                None => Some(format!("{wanted} is not a number")),
                Some(number) => self.out_of_range(number),
            },
            OptionKind::Input | OptionKind::Select | OptionKind::Other(_) => {
                wanted.number().and_then(|number| self.out_of_range(number))
            }
        }
    }

    fn out_of_range(&self, wanted: Amount) -> Option<String> {
        let below = self.min.is_some_and(|min| wanted < min);
        let above = self.max.is_some_and(|max| wanted > max);
        let base = self.min.unwrap_or(Amount::ZERO);
        let off_step = self.step.is_some_and(|step| {
            step > Amount::ZERO && !wanted.minus(base).is_some_and(|over| over.is_multiple_of(step))
        });
        if !(below || above || off_step) {
            return None;
        }
        let bound = |bound: Option<Amount>| bound.map_or_else(|| "any".to_owned(), Amount::plain);
        let range = format!("allowed are {} to {}", bound(self.min), bound(self.max));
        let steps = self
            .step
            .map_or_else(String::new, |step| format!(" in steps of {}", step.plain()));
        Some(format!("{} does not fit: {range}{steps}", wanted.plain()))
    }
}

/// The key of the cores of a pay-as-you-go VM (resize page).
pub const CPU_CORES: &str = "cpuCores";
/// The key of its memory in GB (resize page).
pub const MEMORY_GB: &str = "memoryGb";

/// The parts of the size of a pay-as-you-go VM that can be ordered (resize page); `size` is what HostUp shows.
pub fn sizes(size: Option<Size>) -> Vec<Offer> {
    let number = |n: u32| Amount::parse(&n.to_string());
    let part = |key: &str, most, current: Option<u32>| Offer {
        key: key.to_owned(),
        label: Text::default(),
        kind: OptionKind::Quantity,
        current: current.and_then(number).map(OptionValue::Number),
        min: Some(Amount::ONE),
        max: number(most),
        step: Some(Amount::ONE),
        values: Vec::new(),
        gate: None,
    };
    vec![
        part(CPU_CORES, LARGEST.cpu_cores, size.map(|size| size.cpu_cores)),
        part(MEMORY_GB, LARGEST.memory_gb, size.map(|size| size.memory_gb)),
    ]
}

/// What a person wants and what it is instead, for the options that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The values to change, as HostUp shows them; a key is missing where it shows none.
    pub from: Values,
    /// The values to order.
    pub to: Values,
}

impl Difference {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// Why a ceiling does not cover it: a value gets lower, or it cannot be said that none does.
    pub fn lowers(&self) -> Option<String> {
        self.to.iter().find_map(|(key, to)| {
            let Some(from) = self.from.get(key) else {
                return Some(format!(
                    "HostUp does not show what {key} is now, so that {to} may lower it"
                ));
            };
            let (rises, comparable) = match (from.number(), to.number(), from.flag(), to.flag()) {
                (Some(from), Some(to), _, _) => (to > from, true),
                (_, _, Some(from), Some(to)) => (!from && to, true),
                (_, _, _, _) => (false, false),
            };
            (!rises).then(|| {
                if comparable {
                    format!("it lowers {key} from {from} to {to}")
                } else {
                    format!("it cannot be said whether {key} {to} is less than {from}")
                }
            })
        })
    }
}

impl fmt::Display for Difference {
    /// E.g. `bandwidthGb 2048 -> 4096, ipv6 false -> true`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, to)) in self.to.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            match self.from.get(key) {
                Some(from) => write!(f, "{comma}{key} {from} -> {to}")?,
                None => write!(f, "{comma}{key} ? -> {to}")?,
            }
        }
        Ok(())
    }
}

/// What differs between `wanted` and what HostUp shows. `confirmed` values count as current where
/// HostUp shows none.
///
/// # Errors
/// Every option that HostUp does not offer, or not with that value, in words for a person.
pub fn difference(offers: &[Offer], wanted: &Values, confirmed: &Values) -> Result<Difference, String> {
    let mut difference = Difference::default();
    let mut objections = Vec::new();
    for (key, want) in wanted {
        let Some(offer) = offers.iter().find(|offer| offer.key == *key) else {
            let keys: Vec<String> = offers.iter().take(32).map(Offer::named).collect();
            objections.push(format!(
                "HostUp offers no option {key} for this VPS, only {}",
                keys.join(", ")
            ));
            continue;
        };
        let current = offer.current.as_ref().or_else(|| confirmed.get(key));
        if current.is_some_and(|current| current.means(want)) {
            continue;
        }
        if let Some(objection) = offer.objection(want) {
            objections.push(format!("{}: {objection}", offer.named()));
            continue;
        }
        if let Some(current) = &offer.current {
            difference.from.insert(key.clone(), current.clone());
        }
        difference.to.insert(key.clone(), want.clone());
    }
    if objections.is_empty() {
        Ok(difference)
    } else {
        Err(text::first_of(&objections, MOST_OBJECTIONS))
    }
}

/// Whether both name the same options with values that mean the same.
pub fn same(these: &Values, those: &Values) -> bool {
    let alike =
        |(key, value): (&String, &OptionValue)| those.get(key).is_some_and(|other| other.means(value));
    these.len() == those.len() && these.iter().all(alike)
}

/// Whether HostUp shows every one of these values.
pub fn shows(offers: &[Offer], values: &Values) -> bool {
    values.iter().all(|(key, value)| {
        let current = offers
            .iter()
            .find(|offer| offer.key == *key)
            .and_then(|offer| offer.current.as_ref());
        current.is_some_and(|current| current.means(value))
    })
}

/// Whether HostUp shows nothing that speaks against these values: each is shown, or its option has no
/// value to read.
pub fn does_not_deny(offers: &[Offer], values: &Values) -> bool {
    values.iter().all(|(key, value)| {
        let current = offers
            .iter()
            .find(|offer| offer.key == *key)
            .and_then(|offer| offer.current.as_ref());
        current.is_none_or(|current| current.means(value))
    })
}

/// The status has room for 32 gates, and these are enough to see that the order cannot be sent.
const MOST_CLOSED: usize = 24;

/// The gates of the options that are to be changed: only a gate that is there and closed closes.
pub fn gates(offers: &[Offer], difference: &Difference) -> Vec<Gate> {
    let changed = offers
        .iter()
        .filter(|offer| difference.to.contains_key(&offer.key));
    changed
        .filter_map(|offer| {
            let gate = offer.gate.as_ref().filter(|gate| !gate.allowed)?;
            let reason = format!("{}: {}", offer.key, gate.reason);
            Some(Gate::new(GateName::CanChange, false, &gate.code, &reason))
        })
        .take(MOST_CLOSED)
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Option<Amount> {
        Amount::parse(text)
    }

    pub(crate) fn number(n: i64) -> OptionValue {
        OptionValue::Number(Amount::parse(&n.to_string()).unwrap())
    }

    fn word(text: &str) -> OptionValue {
        OptionValue::Word(Text::new(text))
    }

    pub(crate) fn slider(key: &str, current: Option<OptionValue>) -> Offer {
        Offer {
            key: key.into(),
            label: Text::new(""),
            kind: OptionKind::Slider,
            current,
            min: amount("0"),
            max: amount("10240"),
            step: amount("1024"),
            values: vec![],
            gate: None,
        }
    }

    fn want(pairs: &[(&str, OptionValue)]) -> Values {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn numbers_and_flags_mean_the_same_however_they_are_written() {
        for (a, b) in [
            (number(3), word("3")),
            (OptionValue::Number(amount("3.0").unwrap()), word("3")),
            (OptionValue::Flag(true), number(1)),
            (OptionValue::Flag(false), word("FALSE")),
            // As a record keeps what was ordered, and as HostUp may show it.
            (word("true"), number(1)),
            (word("false"), word("0")),
            (word("small"), word("small")),
        ] {
            assert!(a.means(&b) && b.means(&a), "{a} {b}");
        }
        for (a, b) in [
            (number(3), number(4)),
            (OptionValue::Flag(true), number(2)),
            (OptionValue::Flag(true), word("yes")),
            (word("small"), word("Small")),
        ] {
            assert!(!a.means(&b) && !b.means(&a), "{a} {b}");
        }
    }

    #[test]
    fn only_what_differs_is_ordered() {
        let offers = [
            slider("bandwidthGb", Some(number(2048))),
            slider("disk", Some(number(1024))),
        ];
        let wanted = want(&[("bandwidthGb", number(4096)), ("disk", number(1024))]);
        let difference = difference(&offers, &wanted, &Values::new()).unwrap();
        assert_eq!(difference.to_string(), "bandwidthGb 2048 -> 4096");
        assert_eq!(to_json(&difference.to).to_string(), r#"{"bandwidthGb":4096}"#);
    }

    #[test]
    fn an_unknown_option_and_a_value_out_of_range_are_explained_together() {
        let offers = [slider("bandwidthGb", Some(number(2048)))];
        let wanted = want(&[("bandwidthGb", number(1000)), ("gpu", number(1))]);
        let why = difference(&offers, &wanted, &Values::new()).unwrap_err();
        assert_eq!(
            why,
            "bandwidthGb: 1000 does not fit: allowed are 0 to 10240 in steps of 1024; \
             HostUp offers no option gpu for this VPS, only bandwidthGb"
        );
        let toggle = Offer {
            kind: OptionKind::Toggle,
            ..slider("ipv6", Some(OptionValue::Flag(false)))
        };
        assert!(difference(&[toggle], &want(&[("ipv6", number(7))]), &Values::new()).is_err());
        let select = Offer {
            values: vec![word("none"), word("small")],
            ..slider("gpu", Some(word("none")))
        };
        let why = difference(&[select], &want(&[("gpu", word("huge"))]), &Values::new()).unwrap_err();
        assert_eq!(why, "gpu: huge is not one of none, small");
        let labelled = Offer {
            label: Text::new("Graphics"),
            ..slider("gpu", None)
        };
        let why = |wanted| difference(std::slice::from_ref(&labelled), &wanted, &Values::new()).unwrap_err();
        assert!(why(want(&[("gpu", number(1000))])).starts_with("gpu (Graphics): 1000 does not fit"));
        assert!(why(want(&[("tpu", number(1))])).ends_with("only gpu (Graphics)"));
    }

    #[test]
    fn a_value_that_is_already_there_is_never_objected_to() {
        let odd = slider("bandwidthGb", Some(number(1000)));
        assert!(
            difference(&[odd], &want(&[("bandwidthGb", number(1000))]), &Values::new())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_hidden_value_differs_until_a_person_has_confirmed_it() {
        let offers = [slider("bandwidthGb", None)];
        let wanted = want(&[("bandwidthGb", number(1024))]);
        assert!(!difference(&offers, &wanted, &Values::new()).unwrap().is_empty());
        assert!(difference(&offers, &wanted, &wanted).unwrap().is_empty());
        assert!(does_not_deny(&offers, &wanted) && !shows(&offers, &wanted));
    }

    #[test]
    fn whatever_does_not_surely_rise_counts_as_lowered() {
        let lowers = |from: Option<OptionValue>, to: OptionValue| {
            let mut difference = Difference::default();
            if let Some(from) = from {
                difference.from.insert("a".into(), from);
            }
            difference.to.insert("a".into(), to);
            difference.lowers().is_some()
        };
        assert!(!lowers(Some(number(1)), number(2)));
        assert!(!lowers(Some(OptionValue::Flag(false)), OptionValue::Flag(true)));
        assert!(lowers(Some(number(2)), number(1)));
        assert!(lowers(Some(OptionValue::Flag(true)), OptionValue::Flag(false)));
        assert!(lowers(Some(word("small")), word("large")));
        assert!(lowers(None, number(1)));
    }

    proptest! {
        #[test]
        fn what_is_sent_means_what_was_wanted(n in -5_000i64..5_000, flag: bool, text in "[a-z]{1,10}") {
            for value in [number(n), OptionValue::Flag(flag), word(&text)] {
                let sent = value.to_json();
                prop_assert!(OptionValue::read(&sent).unwrap().means(&value), "{sent}");
            }
        }
    }
}
