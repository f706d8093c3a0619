//! Whether the admission policies that the chart installs are in force: without them whoever may change an object may
//! approve it, and whoever may delete a record may have its order paid for twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::telemetry_hooks::TelemetryHooks;
use crate::cluster::api_call::{self, ApiError};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// What a policy of the chart guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Approving takes the verb `approve`.
    Approval,
    /// Answering an unknown outcome takes the verb `resolve`.
    Resolution,
    /// Deleting a record takes an outcome and the verb `forget`.
    Records,
}

/// What a policy must match, and what it must ask.
struct Needs {
    resources: &'static [&'static str],
    scope: &'static str,
    operations: &'static [&'static str],
    /// Each stands in an expression of its validations.
    asks: &'static [&'static str],
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Approval, Self::Resolution, Self::Records];

    /// A fixed word for metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Resolution => "resolution",
            Self::Records => "records",
        }
    }

    fn needs(self) -> Needs {
        match self {
            Self::Approval => Needs {
                resources: &["vpsbackuprestores", "vpsresourceconfigs"],
                scope: "Namespaced",
                operations: &["CREATE", "UPDATE"],
                asks: &[
                    "check('approve')",
                    "check('overwrite')",
                    "approvedBy == request.userInfo.username",
                ],
            },
            Self::Resolution => Needs {
                resources: &["vpsoperations"],
                scope: "Cluster",
                operations: &["CREATE", "UPDATE"],
                asks: &["check('resolve')"],
            },
            Self::Records => Needs {
                resources: &["vpsoperations"],
                scope: "Cluster",
                operations: &["DELETE"],
                asks: &["status", "check('forget')"],
            },
        }
    }
}

/// Looks again and again, and tells the hooks; the log once, and whenever it has changed.
pub async fn watch(client: Client, hooks: Arc<dyn TelemetryHooks>) {
    let mut told = None;
    loop {
        let seen = look(&client).await;
        for guard in Guard::ALL {
            let in_force = seen.as_ref().ok().map(|missing| !missing.contains(&guard));
            hooks.policy(guard, in_force);
        }
        let said = seen.map_err(|error| error.to_string());
        if told.as_ref() != Some(&said) {
            tell_of_policies(&said);
            told = Some(said);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn tell_of_policies(seen: &Result<Vec<Guard>, String>) {
    match seen {
        Ok(missing) if missing.is_empty() => tracing::info!("the admission policies are in force"),
        Ok(missing) => {
            let missing: Vec<&str> = missing.iter().map(|guard| guard.as_str()).collect();
            tracing::warn!(
                missing = missing.join(", "),
                "admission policies are not in force: anyone who can edit an \
                object can also approve its price, say how its call ended, and delete its record. Install them with the chart \
                (admissionPolicies.enabled)"
            );
        }
        Err(error) => {
            tracing::info!(%error, "the operator cannot check whether the admission policies are in force; it \
            needs the right to list validatingadmissionpolicies and validatingadmissionpolicybindings");
        }
    }
}

/// What is not guarded.
async fn look(client: &Client) -> Result<Vec<Guard>, ApiError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let all = ListParams::default();
    let policies = api_call::within(policies.list(&all)).await?.items;
    let bindings = api_call::within(bindings.list(&all)).await?.items;
    let mut missing = Guard::ALL.to_vec();
    missing.retain(|guard| {
        let mut bound = bindings.iter().filter(|binding| denies(binding));
        !bound.any(|binding| {
            let named = binding.spec.as_ref().and_then(|spec| spec.policy_name.as_ref());
            let policy = policies.iter().find(|policy| Some(&policy.name_any()) == named);
            policy.is_some_and(|policy| guards(policy, *guard))
        })
    });
    Ok(missing)
}

/// Whether what it is bound to refuses, and for every object.
fn denies(binding: &ValidatingAdmissionPolicyBinding) -> bool {
    let Some(spec) = &binding.spec else { return false };
    let acts = spec.validation_actions.iter().flatten();
    binding.metadata.deletion_timestamp.is_none()
        && spec.param_ref.is_none()
        && acts.into_iter().any(|action| action == "Deny")
        && spec
            .match_resources
            .as_ref()
            .is_none_or(|only| is_for_all(only) && only.resource_rules.as_ref().is_none_or(Vec::is_empty))
}

fn guards(policy: &ValidatingAdmissionPolicy, guard: Guard) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let Some(only) = &spec.match_constraints else {
        return false;
    };
    let needs = guard.needs();
    let rules = only.resource_rules.as_deref().unwrap_or_default();
    let matches = needs.resources.iter().all(|resource| {
        let covered = |operation| {
            let mut rules = rules.iter().filter(|rule| reaches(rule, needs.scope));
            rules.any(|rule| covers(rule, resource, operation))
        };
        needs.operations.iter().all(|operation| covered(operation))
    });
    let validations = spec.validations.as_deref().unwrap_or_default();
    let asked = |words: &str| validations.iter().any(|one| one.expression.contains(words));
    policy.metadata.deletion_timestamp.is_none()
        && spec
            .failure_policy
            .as_deref()
            .is_none_or(|policy| policy == "Fail")
        && spec.param_kind.is_none()
        && spec.match_conditions.as_ref().is_none_or(Vec::is_empty)
        && is_for_all(only)
        && matches
        && needs.asks.iter().all(|words| asked(words))
}

/// Nothing is left out by a selector.
fn is_for_all(only: &MatchResources) -> bool {
    let all = |selector: &Option<LabelSelector>| {
        selector.as_ref().is_none_or(|selector| {
            selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
                && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        })
    };
    all(&only.namespace_selector)
        && all(&only.object_selector)
        && only.exclude_resource_rules.as_ref().is_none_or(Vec::is_empty)
}

fn reaches(rule: &NamedRuleWithOperations, scope: &str) -> bool {
    rule.scope
        .as_deref()
        .is_none_or(|given| given == scope || given == "*")
}

fn covers(rule: &NamedRuleWithOperations, resource: &str, operation: &str) -> bool {
    let has = |words: &Option<Vec<String>>, word: &str| {
        words.iter().flatten().any(|given| given == word || given == "*")
    };
    rule.resource_names.as_ref().is_none_or(Vec::is_empty)
        && has(&rule.api_groups, "vps.hostup.se")
        && has(&rule.api_versions, "v1alpha1")
        && has(&rule.resources, resource)
        && has(&rule.operations, operation)
}
