//! Configurable options of a VPS, as `GET actions/upgrade` tells them.
//!
//! Its page names `key`, `label`, `type` and `min`; the stored copy is cut there. The other members
//! are assumed.

use std::fmt;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::account::ActionGate;
use crate::wire::Json;

/// A primitive value of an option (config page: "mapped to primitive values").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// `true`, `false`
    Bool(bool),
    /// `4096`
    Number(Decimal),
    /// `"small"`
    Text(String),
}

impl OptionValue {
    /// A primitive out of a body.
    pub(crate) fn from_json(value: &Value) -> Option<OptionValue> {
        match value {
            Value::Bool(value) => Some(OptionValue::Bool(*value)),
            Value::Number(number) => decimal(&number.to_string()).map(OptionValue::Number),
            Value::String(text) => Some(OptionValue::Text(text.clone())),
            _ => None,
        }
    }

    pub(crate) fn json(&self) -> Json {
        match self {
            OptionValue::Bool(value) => (*value).into(),
            OptionValue::Number(number) => number.normalize().into(),
            OptionValue::Text(text) => text.into(),
        }
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    text.parse().or_else(|_| Decimal::from_scientific(text)).ok()
}

impl fmt::Display for OptionValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Bool(value) => value.fmt(out),
            OptionValue::Number(number) => number.normalize().fmt(out),
            OptionValue::Text(text) => text.fmt(out),
        }
    }
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> OptionValue {
        OptionValue::Bool(value)
    }
}

impl From<i32> for OptionValue {
    fn from(value: i32) -> OptionValue {
        OptionValue::Number(value.into())
    }
}

impl From<Decimal> for OptionValue {
    fn from(value: Decimal) -> OptionValue {
        OptionValue::Number(value)
    }
}

impl From<&str> for OptionValue {
    fn from(value: &str) -> OptionValue {
        OptionValue::Text(value.to_owned())
    }
}

/// `type` of an option (upgrade page, which names five).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// `slider`
    Slider,
    /// `quantity`
    Quantity,
    /// `toggle`
    Toggle,
    /// `input`
    Input,
    /// `select`
    Select,
    /// A word that the page does not name.
    Other(String),
}

impl OptionKind {
    /// Its word on the wire.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            OptionKind::Slider => "slider",
            OptionKind::Quantity => "quantity",
            OptionKind::Toggle => "toggle",
            OptionKind::Input => "input",
            OptionKind::Select => "select",
            OptionKind::Other(word) => word,
        }
    }
}

/// Which member tells the current value (no page names one; all assumed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CurrentAs {
    /// `currentValue`
    #[default]
    CurrentValue,
    /// `current`
    Current,
    /// `value`
    Value,
    /// None: it is not told.
    Absent,
}

impl CurrentAs {
    fn member(self) -> Option<&'static str> {
        match self {
            CurrentAs::CurrentValue => Some("currentValue"),
            CurrentAs::Current => Some("current"),
            CurrentAs::Value => Some("value"),
            CurrentAs::Absent => None,
        }
    }
}

/// A configurable option of one VPS.
#[derive(Clone, Debug)]
pub struct ConfigOption {
    /// `key`
    pub key: String,
    /// `label`
    pub label: String,
    /// `type`
    pub kind: OptionKind,
    /// The current value.
    pub current: OptionValue,
    /// `min`; left out when `None`
    pub min: Option<Decimal>,
    /// `max` (assumed); left out when `None`
    pub max: Option<Decimal>,
    /// `step` (assumed), counted from `min`; left out when `None`
    pub step: Option<Decimal>,
    /// `values` of a select (assumed); left out when empty
    pub values: Vec<OptionValue>,
    /// `actions.canChange` (assumed); `actions` is left out when `None`
    pub can_change: Option<ActionGate>,
    /// Price of a unit in a month. A toggle that is on is one unit; a value of a select has as many
    /// units as values stand before it; a text has none.
    pub price: Decimal,
    /// So many units are free.
    pub included: Decimal,
    /// Which member tells the current value.
    pub current_as: CurrentAs,
}

impl ConfigOption {
    /// An option of any kind without limits, free of charge.
    #[must_use]
    pub fn new(key: &str, kind: OptionKind, current: impl Into<OptionValue>) -> ConfigOption {
        ConfigOption {
            key: key.to_owned(),
            label: key.to_owned(),
            kind,
            current: current.into(),
            min: None,
            max: None,
            step: None,
            values: Vec::new(),
            can_change: None,
            price: Decimal::ZERO,
            included: Decimal::ZERO,
            current_as: CurrentAs::default(),
        }
    }

    /// A slider.
    #[must_use]
    pub fn slider(key: &str, min: u32, max: u32, step: u32, current: i32) -> ConfigOption {
        ConfigOption {
            min: Some(min.into()),
            max: Some(max.into()),
            step: Some(step.into()),
            ..ConfigOption::new(key, OptionKind::Slider, current)
        }
    }

    /// A quantity, in steps of one.
    #[must_use]
    pub fn quantity(key: &str, min: u32, max: u32, current: i32) -> ConfigOption {
        ConfigOption {
            kind: OptionKind::Quantity,
            ..ConfigOption::slider(key, min, max, 1, current)
        }
    }

    /// A toggle.
    #[must_use]
    pub fn toggle(key: &str, current: bool) -> ConfigOption {
        ConfigOption::new(key, OptionKind::Toggle, current)
    }

    /// An input.
    #[must_use]
    pub fn input(key: &str, current: impl Into<OptionValue>) -> ConfigOption {
        ConfigOption::new(key, OptionKind::Input, current)
    }

    /// A select.
    #[must_use]
    pub fn select(key: &str, values: &[&str], current: &str) -> ConfigOption {
        ConfigOption {
            values: values.iter().map(|value| OptionValue::from(*value)).collect(),
            ..ConfigOption::new(key, OptionKind::Select, current)
        }
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, label: &str) -> ConfigOption {
        label.clone_into(&mut self.label);
        self
    }

    /// With a price of a unit in a month, so many units being free.
    ///
    /// # Panics
    /// If a text is no decimal number.
    #[must_use]
    pub fn priced(mut self, price: &str, included: &str) -> ConfigOption {
        self.price = crate::dec(price);
        self.included = crate::dec(included);
        self
    }

    /// With another member for the current value, or none.
    #[must_use]
    pub fn current_as(mut self, member: CurrentAs) -> ConfigOption {
        self.current_as = member;
        self
    }

    /// With `actions.canChange`.
    #[must_use]
    pub fn can_change(mut self, gate: ActionGate) -> ConfigOption {
        self.can_change = Some(gate);
        self
    }

    /// What a value of it costs in a month.
    #[must_use]
    pub fn monthly(&self, value: &OptionValue) -> Decimal {
        let units = match value {
            OptionValue::Bool(on) => u32::from(*on).into(),
            OptionValue::Number(number) => *number,
            OptionValue::Text(_) => {
                let place = self.values.iter().position(|own| own == value).unwrap_or(0);
                Decimal::from(place)
            }
        };
        let paid = units.saturating_sub(self.included).max(Decimal::ZERO);
        paid.saturating_mul(self.price)
    }

    /// Whether a value may be set; `Err` says why not (limits as the option tells them; what each
    /// kind takes is assumed).
    pub(crate) fn check(&self, value: &OptionValue) -> Result<(), String> {
        let key = &self.key;
        let fits = match (&self.kind, value) {
            (OptionKind::Toggle, value) => matches!(value, OptionValue::Bool(_)),
            (OptionKind::Select, value) => self.values.contains(value),
            (OptionKind::Slider | OptionKind::Quantity, value) => matches!(value, OptionValue::Number(_)),
            (OptionKind::Input, value) => !matches!(value, OptionValue::Bool(_)),
            (OptionKind::Other(_), _) => true,
        };
        if !fits {
            return Err(match self.kind {
                OptionKind::Toggle => format!("`{key}` must be true or false."),
                OptionKind::Select => format!("`{key}` must be one of its values."),
                _ => format!("`{key}` must be a number."),
            });
        }
        let OptionValue::Number(number) = value else {
            return Ok(());
        };
        if let Some(min) = self.min.filter(|min| number < min) {
            return Err(format!("`{key}` must be at least {min}."));
        }
        if let Some(max) = self.max.filter(|max| number > max) {
            return Err(format!("`{key}` must be at most {max}."));
        }
        let step = self.step.filter(|step| !step.is_zero());
        if let Some(step) = step
            && !((number - self.min.unwrap_or_default()) % step).is_zero()
        {
            return Err(format!("`{key}` must be a multiple of {step}."));
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> Json {
        let mut option = Json::object([
            ("key", (&self.key).into()),
            ("label", (&self.label).into()),
            ("type", Json::word(self.kind.word())),
        ]);
        for (name, limit) in [("min", self.min), ("max", self.max), ("step", self.step)] {
            if let Some(limit) = limit {
                option.push(name, limit.normalize().into());
            }
        }
        if !self.values.is_empty() {
            option.push("values", Json::list(self.values.iter().map(OptionValue::json)));
        }
        if let Some(member) = self.current_as.member() {
            option.push(member, self.current.json());
        }
        if let Some(gate) = &self.can_change {
            option.push("actions", Json::object([("canChange", gate.json())]));
        }
        option
    }
}

/// The options of the standard source VPS: the keys of the upgrade page, and one that no page names.
/// Prices are assumed but for one: `bandwidthGb` 2048 -> 4096 costs 40 SEK a month (config page).
#[must_use]
pub fn standard_options() -> Vec<ConfigOption> {
    vec![
        ConfigOption::slider("bandwidthGb", 0, 10240, 1024, 2048)
            .label("Bandwidth")
            .priced("0.01953125", "2048"),
        ConfigOption::quantity("backupSlots", 0, 10, 1)
            .label("Backups")
            .priced("15", "1"),
        ConfigOption::quantity("snapshotSlots", 0, 10, 1)
            .label("Snapshots")
            .priced("10", "1"),
        ConfigOption::quantity("ipv4Count", 1, 8, 1)
            .label("IPv4 addresses")
            .priced("29", "1"),
        ConfigOption::toggle("ipv6", false).label("IPv6").priced("5", "0"),
        ConfigOption::slider("additionalStorageGb", 0, 1000, 10, 0)
            .label("Additional storage")
            .priced("1.5", "0"),
        ConfigOption::select("gpuProfile", &["none", "small"], "none")
            .label("GPU")
            .priced("499", "0"),
    ]
}
