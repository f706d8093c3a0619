//! Answers that went well: the first line says to what, the rest is the body.

use hostup_operator::domain::action::ordered::ActionKind;
use hostup_operator::domain::action::ordered::Backup;
use hostup_operator::domain::action::receipt::Receipt;
use hostup_operator::domain::consent::price::Size;
use hostup_operator::domain::provider::backup::{self, BackupChoice};
use hostup_operator::domain::provider::job::JobState;
use hostup_operator::domain::provider::options::{self, Difference, Offer};
use hostup_operator::domain::provider::preflight::{self, Deployments, Eligibility};
use hostup_operator::domain::values::ids::{JobId, VpsId};
use hostup_operator::domain::values::money::Amount;
use hostup_operator::domain::values::text::Text;

use crate::account::{Asked, done, now};
use crate::answer::Answer;
use crate::decided::{backup as listed_backup, preflight};
use crate::promise;
use crate::repeat::split;

/// One body of one endpoint.
pub fn run(input: &[u8]) {
    let (to, body) = split(input, b"\n").unwrap_or((b"", input));
    let asked = Asked::always(&Answer::well(body));
    let account = &asked.account;
    let id = VpsId::new("vps_a");
    match to {
        b"vps" => {
            if let Ok(vm) = done(account.vps(&id)) {
                assert_eq!(vm.id, id, "another VPS");
                assert!(promise::json(body).is_none_or(|body| body["id"] == "vps_a"));
                vm.size.into_iter().for_each(is_a_size);
                vm.primary_ip.iter().for_each(|ip| promise::text(ip, 60));
                assert!(vm.name.chars().count() <= 300);
            }
            if let Ok(own) = done(account.own_vps(&id)) {
                own.size.into_iter().for_each(is_a_size);
            }
        }
        b"backups" => {
            for listed in done(account.backups(&id))
                .into_iter()
                .flat_map(|listed| listed.backups)
            {
                is_plain(listed.id.as_str());
                let complete = backup::choose(&BackupChoice::Id(listed.id.clone()), None, &[listed], now());
                match complete {
                    Ok(Backup { size_gb, .. }) => assert!(size_gb > Amount::ZERO),
                    Err(why) => promise::text(&why, Text::LIMIT),
                }
            }
        }
        b"convert-to-cloud" => {
            if let Ok(eligibility) = done(account.eligibility(&id)) {
                may_convert(body, eligibility);
            }
        }
        b"deployments" => {
            if let Ok(deployments) = done(account.deployments()) {
                may_deploy(body, deployments);
            }
        }
        b"limits" => {
            // What is left is never more than HostUp says; a number that it does not say is none.
            if let Ok(left) = done(account.remaining())
                && promise::json(body).is_some_and(|body| body["remaining"].is_null())
            {
                assert_eq!(left, preflight::Remaining::default());
            }
        }
        b"options" => {
            if let Ok(offers) = done(account.options(&id)) {
                are_offers(body, &offers);
            }
        }
        b"invoices" => {
            let invoices = done(account.blocking_invoices(&id)).unwrap_or_default();
            invoices.iter().for_each(promise::invoice);
        }
        b"preview" => previewed(&asked, body, &id),
        b"job" => is_a_job(&asked),
        b"restore" => taken(ActionKind::RestoreToCloudVm, body),
        b"config" => taken(ActionKind::CommitResources, body),
        b"estimate" => taken(ActionKind::LegacyEstimate, body),
        _ => taken(ActionKind::LegacyUpgrade, body),
    }
}

fn is_a_size(size: Size) {
    for part in [size.cpu_cores, size.memory_gb, size.storage_gb] {
        assert!((1..=1_000_000).contains(&part), "{size}");
    }
}

fn is_plain(id: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    assert!((1..=64).contains(&id.len()) && id.chars().all(plain), "{id:?}");
}

fn gates(change: impl FnOnce(&mut preflight::Preflight)) -> bool {
    let mut read = preflight();
    change(&mut read);
    let size = read.source_size.expect("a size");
    let gates = preflight::gates(&read, &listed_backup(), None, size, "stockholm", now());
    promise::gates(&gates);
    gates.iter().all(|gate| gate.allowed)
}

fn may_convert(body: &[u8], eligibility: Eligibility) {
    let Some(body) = promise::json(body) else {
        return;
    };
    let payg = body["currentBillingModel"] == "payg";
    let said = body["available"] == true && body["actions"]["canConvertToCloud"]["allowed"] == true;
    let open = gates(|read| read.eligibility = eligibility.clone());
    // A blocker of a limit speaks of the source's own size, and closes nothing.
    assert!(
        !open || said || payg || !eligibility.blockers.is_empty(),
        "open, and HostUp did not say so: {body}"
    );
}

fn may_deploy(body: &[u8], deployments: Deployments) {
    let Some(body) = promise::json(body) else {
        return;
    };
    let said = body["available"] == true && body["actions"]["canDeploy"]["allowed"] == true;
    assert!(
        !deployments.can_deploy.allowed || said,
        "open, and HostUp did not say so: {body}"
    );
    deployments
        .regions
        .iter()
        .flatten()
        .chain(&deployments.default_region)
        .for_each(|region| is_plain(region));
    gates(|read| read.deployments = deployments);
}

fn are_offers(body: &[u8], offers: &[Offer]) {
    if let Some(body) = promise::json(body) {
        let listed = body["configurableOptions"].as_array().map(Vec::len);
        assert_eq!(Some(offers.len()), listed, "an option is missing");
    }
    for offer in offers {
        is_plain(&offer.key);
        for value in offer.values.iter().chain(&offer.current) {
            promise::shown(&value.to_string(), 257);
            assert!(value.means(value), "{value:?}");
            let difference = Difference {
                from: offer
                    .current
                    .iter()
                    .map(|now| (offer.key.clone(), now.clone()))
                    .collect(),
                to: [(offer.key.clone(), value.clone())].into(),
            };
            promise::gates(&options::gates(offers, &difference));
            promise::shown(&difference.to_string(), 600);
        }
    }
}

fn previewed(asked: &Asked, body: &[u8], id: &VpsId) {
    let Ok(preview) = done(asked.account.preview_config(id, "{}".to_owned())) else {
        return;
    };
    let Some(body) = promise::json(body) else {
        return;
    };
    assert_eq!(body["dryRun"], !preview.committed, "{body}");
    assert!(body["success"] != false, "{body}");
    assert!(
        !preview.can_commit.allowed || body["actions"]["canCommit"]["allowed"] == true,
        "{body}"
    );
}

fn is_a_job(asked: &Asked) {
    let read = done(asked.account.job("/api/jobs/job_a"));
    if let Ok((_, Some(word))) = &read {
        promise::text(word, 40);
    }
    match read.map(|(state, _)| state) {
        Ok(JobState::Completed { hints, .. }) => {
            assert!(hints.len() <= 16);
            for hint in hints {
                assert!(
                    hint.as_str().starts_with("vps_") && hint.as_str().len() <= 64,
                    "{hint}"
                );
            }
        }
        Ok(JobState::Failed { error }) => promise::text(&error, Text::LIMIT),
        Ok(JobState::Running { progress }) => assert!(progress.is_none_or(|percent| percent <= 100)),
        Ok(JobState::Lost) | Err(_) => {}
    }
}

/// HostUp took the order only where the body says so.
fn taken(call: ActionKind, body: &[u8]) {
    let (Some(receipt), Some(said)) = ((call.row().receipt)(body), promise::json(body)) else {
        return;
    };
    assert!(said["success"] != false, "{said}");
    match receipt {
        Receipt::Job(job) => {
            let id = said["operation"]["jobId"].as_str().and_then(JobId::parse);
            assert_eq!(id.as_ref(), Some(&job.id), "no usable job id: {said}");
            let path = &job.poll_path;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
            assert!(
                path.starts_with("/api/") && path.len() <= 200 && path.chars().all(plain),
                "{path:?}"
            );
            assert!(!path.contains("..") && !path.contains("//"), "{path:?}");
        }
        Receipt::Committed { invoice, charge } => {
            assert_eq!(said["dryRun"], false, "{said}");
            assert!(
                charge.is_none() || !said["priceChange"]["amount"].is_null(),
                "{said}"
            );
            invoice.iter().for_each(promise::invoice);
        }
        Receipt::Estimated(estimate) => {
            let data = &said["data"];
            assert!(
                said["success"] == true && data["estimate"] == true && data["upgraded"] != true,
                "{said}"
            );
            let draft = data["draftId"].as_u64();
            assert_eq!(estimate.draft, draft);
        }
        Receipt::Upgraded {
            order,
            invoice,
            prorated,
            new_total,
            unasked,
        } => {
            assert!(
                prorated.is_none() || !said["data"]["prorated"].is_null(),
                "{said}"
            );
            let checkout = &said["data"]["raw"]["checkout"];
            assert!(new_total.is_none() || !checkout["newtotal"].is_null(), "{said}");
            assert_eq!(said["success"], true, "{said}");
            assert_eq!(unasked, call == ActionKind::LegacyEstimate);
            assert!(unasked || said["data"]["upgraded"] == true, "{said}");
            if let Some(order) = &order {
                promise::text(order, 64);
            }
            invoice.iter().for_each(promise::invoice);
        }
    }
}
