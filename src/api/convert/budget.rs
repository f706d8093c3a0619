//! A budget as the domain checks it, and its status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::ResourceExt;
use kube::core::Selector;

use super::{InvalidSpec, amount, currency, invalid, time_span};
use crate::api::budget::{LabelOperator, LimitStatus, NamespaceSelector, VpsBudget, VpsBudgetStatus};
use crate::api::conditions::{self, ConditionStatus, NewCondition};
use crate::domain::ledger::budget::{Budget, Expense, Limit, Position};
use crate::domain::status::reason::Standing;

/// The condition that a limit is nearly reached.
const NEAR_LIMIT: &str = "NearLimit";

/// A budget, and which namespaces it covers by the labels of their Namespaces.
///
/// # Errors
/// [`InvalidSpec`] where the schema let something through that cannot be understood.
pub fn budget(object: &VpsBudget) -> Result<(Budget, Selector), InvalidSpec> {
    let spec = &object.spec;
    let mut limits = Vec::new();
    let mut limit = |of, text: &String, field| {
        limits.push(Limit {
            of,
            most: amount(text, field)?,
        });
        Ok::<(), InvalidSpec>(())
    };
    if let Some(most) = &spec.per_hour {
        limit(Expense::PerHour, most, "perHour")?;
    }
    if let Some(most) = &spec.per_month {
        limit(Expense::PerMonth, most, "perMonth")?;
    }
    if let Some(due) = &spec.due_now {
        let within = window(&due.window)?;
        limit(Expense::DueNow { within }, &due.amount, "dueNow.amount")?;
    }
    let budget = Budget {
        name: object.name_any(),
        currency: currency(&spec.currency_code)?,
        limits,
    };
    let selector = selector(spec.namespace_selector.clone().unwrap_or_default());
    if let Some(wrong) = no_label(&selector) {
        let why = format!("{wrong:?} is in no label, so the budget would limit nothing");
        return Err(invalid("namespaceSelector", why));
    }
    let selector = Selector::try_from(selector);
    let selector = selector.map_err(|error| invalid("namespaceSelector", error.to_string()))?;
    Ok((budget, selector))
}

/// A key or a value that no label can have. An older schema let it through.
fn no_label(selector: &LabelSelector) -> Option<&str> {
    let labels = selector.match_labels.iter().flatten();
    let asked = selector.match_expressions.iter().flatten();
    let keys = labels
        .clone()
        .map(|(key, _)| key)
        .chain(asked.clone().map(|asked| &asked.key));
    let values = labels.map(|(_, value)| value);
    let values = values.chain(asked.flat_map(|asked| asked.values.iter().flatten()));
    let wrong_key = keys.filter(|key| !is_label_key(key));
    wrong_key
        .chain(values.filter(|value| !value.is_empty() && !is_name(value)))
        .map(String::as_str)
        .next()
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => {
            domain.len() <= 253 && domain.split('.').all(is_part_of_a_domain) && is_name(name)
        }
        None => is_name(key),
    }
}

/// Lower-case letters, digits and `-`, with a letter or digit at both ends.
fn is_part_of_a_domain(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.chars().all(|c| ends(c) || c == '-') && text.starts_with(ends) && text.ends_with(ends)
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63 && text.chars().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

fn selector(ours: NamespaceSelector) -> LabelSelector {
    let requirements = ours
        .match_expressions
        .into_iter()
        .map(|ours| LabelSelectorRequirement {
            key: ours.key,
            operator: match ours.operator {
                LabelOperator::In => "In",
                LabelOperator::NotIn => "NotIn",
                LabelOperator::Exists => "Exists",
                LabelOperator::DoesNotExist => "DoesNotExist",
            }
            .to_owned(),
            values: Some(ours.values).filter(|values| !values.is_empty()),
        });
    LabelSelector {
        match_expressions: Some(requirements.collect()),
        match_labels: Some(ours.match_labels),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `24h` to `31d`.
fn window(text: &str) -> Result<Duration, InvalidSpec> {
    let wrong = || invalid("dueNow.window", "is not a time span from 24h to 31d, e.g. 7d");
    let within = time_span(text).filter(|_| !text.ends_with('m'));
    within
        .filter(|within| (DAY..=31 * DAY).contains(within))
        .ok_or_else(wrong)
}

/// The status of a budget with limits in this state.
pub fn budget_status(
    object: &VpsBudget,
    standing: Result<&[Position], &InvalidSpec>,
    now: Timestamp,
) -> VpsBudgetStatus {
    let generation = object.metadata.generation.unwrap_or_default();
    let before = object
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let positions = standing.unwrap_or_default();
    let of = |field: &str| {
        let position = positions
            .iter()
            .find(|position| position.limit.of.field() == field);
        position.map(limit_status)
    };
    let mut said = match standing {
        Ok(_) => conditions::standing(Standing::Done, "InForce", &in_force(object)),
        Err(why) => {
            let message =
                format!("{why}. No namespace buys anything until the budget is corrected or deleted");
            conditions::standing(Standing::Stalled, "InvalidSpec", &message)
        }
    };
    if standing.is_ok() {
        said.push(near_limit(positions));
    }
    VpsBudgetStatus {
        observed_generation: generation,
        per_hour: of(Expense::PerHour.field()),
        per_month: of(Expense::PerMonth.field()),
        due_now: of("dueNow"),
        conditions: conditions::dated(said, before, generation, now),
    }
}

fn in_force(object: &VpsBudget) -> String {
    let selector = object.spec.namespace_selector.as_ref();
    let covers = match selector.filter(|selector| **selector != NamespaceSelector::default()) {
        Some(_) => "the namespaces that it selects",
        None => "every namespace",
    };
    format!("The budget covers {covers}; a purchase that would exceed it waits")
}

fn near_limit(positions: &[Position]) -> NewCondition {
    let near: Vec<&Position> = positions
        .iter()
        .filter(|position| position.is_near_limit())
        .collect();
    let message = match near.as_slice() {
        [] => "Less than 80 percent of each limit are used or in progress".to_owned(),
        near => {
            let near: Vec<String> = near.iter().map(|position| position.summary()).collect();
            format!("Used or in progress: {}", near.join("; "))
        }
    };
    let reason = if near.is_empty() {
        "BelowLimits"
    } else {
        "NearLimits"
    };
    NewCondition {
        about: NEAR_LIMIT,
        status: ConditionStatus::from(!near.is_empty()),
        reason: reason.to_owned(),
        message,
    }
}

fn limit_status(position: &Position) -> LimitStatus {
    LimitStatus {
        used: position.used.to_string(),
        in_progress: position.under_way.to_string(),
        left: position.left().to_string(),
        summary: position.summary(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lasts_from_a_day_to_a_month() {
        let hours = |text| window(text).ok().map(|window| window.as_secs() / 3600);
        for (text, read) in [
            ("24h", Some(24)),
            ("744h", Some(744)),
            ("1d", Some(24)),
            ("31d", Some(744)),
            ("23h", None),
            ("745h", None),
            ("32d", None),
            ("0d", None),
            ("1440m", None),
            ("7", None),
            ("d", None),
            ("", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(hours(text), read, "{text}");
        }
    }
}
