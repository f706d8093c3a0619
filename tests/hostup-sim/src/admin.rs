//! The admin API of the demonstration, under `/_sim/` on the same port, off unless
//! [`World::admin`] is set. It is no part of the provider's API and its calls are not logged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::answers::{Answer, RateLimitStyle};
use crate::backup::{BackupBehaviour, BackupOutcome, Listed};
use crate::clock::iso;
use crate::config::{Apply, ConfigBehaviour};
use crate::faults::{ArmedFault, Fault};
use crate::http::{Incoming, Outgoing};
use crate::invoice::Invoice;
use crate::job::{JobForget, JobResult};
use crate::ledger::{ConfigPurchase, Overwrite, Purchase, ResizePurchase};
use crate::legacy::{EstimateSays, LegacyBehaviour};
use crate::log::RequestRecord;
use crate::options::OptionValue;
use crate::overwrite::{OverwriteBehaviour, OverwriteOutcome};
use crate::reads::query;
use crate::resize::ResizeBehaviour;
use crate::restore::{Boots, Outcome, RestoreBehaviour};
use crate::routes::{Route, decode};
use crate::wire::Json;
use crate::world::{SOURCE_VPS, World};

const HELP: &str = "\
hostup-sim, admin API
  GET    /_sim/purchases               the ledger: what was executed, whatever was answered
  GET    /_sim/requests                what arrived and what was answered
  GET    /_sim/vps                     every VPS, visible or not
  GET    /_sim/faults                  the names of faults
  POST   /_sim/faults/NAME?times=N     inject one (times: 1 unless said); what is on the answer of a restore
                                       takes ?route=resize, restore, restore-from-vps or create-backup
  DELETE /_sim/faults                  take all faults back
  GET    /_sim/unfired                 faults that did not fire yet
  POST   /_sim/job-duration/DURATION   for coming jobs: 500ms, 8s, 2m
  POST   /_sim/option/KEY/VALUE        set an option as a person at the panel would
  POST   /_sim/prices/FACTOR           every option costs its present price times this
  POST   /_sim/apply/WHEN              commits of options: now, never, when-paid, or a DURATION
  GET    /_sim/invoices                every invoice that a commit made, or that blocks one
  POST   /_sim/invoices?amount=N       a new open invoice that blocks commits (199 unless said)
  POST   /_sim/invoices/ID/pay         a person pays it
The last ones but /_sim/apply take ?vps=ID; it is the standard source VPS unless said.
";

/// Faults by name: on the answer of a restore, on the restore itself, on commits of options and legacy
/// calls.
const ANSWERS: [(&str, &str); 14] = [
    ("lost-answer", "the restore is executed, the connection reset"),
    ("lost-request", "nothing is executed, the connection reset"),
    ("cut-answer", "executed, the answer cut in the middle"),
    ("hang", "executed, then silence"),
    ("500-acted", "executed, answered 500 internal_error"),
    ("500", "not executed, answered 500 internal_error"),
    ("502-acted", "executed, answered by a balancer's 502 page"),
    ("503-acted", "executed, answered 503 upstream_unavailable"),
    ("garbled-202", "executed, 202 with broken JSON"),
    ("rate-limited", "not executed, 429 with Retry-After of 5 s"),
    ("blocked", "not executed, 403 with blockerReasons"),
    ("redirect", "not executed, 307 to another host"),
    ("reads-down", "the VPS list answers 503"),
    ("jobs-down", "polls answer 502"),
];
const RESTORES: [(&str, &str); 8] = [
    ("job-failed", "a VM is made, the job fails"),
    ("job-failed-no-vm", "no VM is made, the job fails"),
    ("job-lost", "polls answer 404 from the first on"),
    ("job-never-ends", "a VM is made, the job never ends"),
    ("no-result", "the job completes with result null"),
    ("list-lag", "the list misses the new VM 5 times"),
    ("never-boots", "the VM stays provisioning"),
    ("no-ip", "the VM runs without an IP"),
];

const OVERWRITES: [(&str, &str); 6] = [
    ("overwrite-torn", "the job fails, the disk is lost"),
    ("overwrite-untouched", "the job fails, the disk is as it was"),
    ("overwrite-written", "the job fails, the disk holds the backup"),
    ("overwrite-job-lost", "polls answer 404 from the first on"),
    (
        "overwrite-never-ends",
        "the disk holds the backup, the job never ends",
    ),
    ("overwrite-stays-down", "the VPS stays stopped"),
];

const BACKUPS: [(&str, &str); 6] = [
    ("backup-failed", "the job fails, there is no backup"),
    ("backup-failed-made", "the job fails, the backup is there"),
    ("backup-job-lost", "polls answer 404 from the first on"),
    ("backup-never-ends", "the backup is there, the job never ends"),
    ("backup-lag", "the list misses the backup 5 times"),
    ("backup-unfinished", "the list shows the backup before it is made"),
];

const OTHERS: [(&str, &str); 16] = [
    (
        "config-lost-answer",
        "the commit is executed, the connection reset",
    ),
    (
        "config-lost-request",
        "the commit is not executed, the connection reset",
    ),
    ("config-hang", "the commit is executed, then silence"),
    ("config-500", "the commit is not executed, 500 internal_error"),
    (
        "config-502-acted",
        "the commit is executed, 502 upstream_renewal_regeneration_failed",
    ),
    ("config-pending", "the commit is not executed, 409 pending_orders"),
    (
        "config-limited",
        "the commit is not executed, 429 with Retry-After of 5 s",
    ),
    ("config-dearer", "the commit costs twice what the preview said"),
    ("config-unpaid", "the commit waits for its invoice to be paid"),
    ("config-late", "the commit sets its values 10 s later"),
    ("config-ignored", "the commit is billed and sets nothing"),
    ("options-down", "the options answer 503"),
    ("resize-late", "the resize shows 10 s later"),
    ("resize-ignored", "the resize is billed and sets nothing"),
    ("legacy-executes", "a legacy estimate is executed"),
    (
        "legacy-lost-answer",
        "the legacy upgrade is executed, the connection reset",
    ),
];

/// The answer to an admin call; `None` if it is none.
pub(crate) fn answer(world: &mut World, incoming: &Incoming) -> Option<Outgoing> {
    let rest = incoming.path.strip_prefix("/_sim/")?;
    if !world.admin {
        return None;
    }
    let parts: Vec<&str> = rest.split('/').collect();
    Some(match (incoming.method.as_str(), parts.as_slice()) {
        ("GET", [""]) => text(200, HELP),
        ("GET", ["purchases"]) => json(Json::list(world.purchases().iter().map(purchase))),
        ("GET", ["requests"]) => json(Json::list(world.requests().iter().map(request))),
        ("GET", ["unfired"]) => json(Json::list(world.unfired())),
        ("GET", ["vps"]) => json(vps(world)),
        ("GET", ["faults"]) => text(200, &names()),
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            world.next_restores.clear();
            world.next_configs.clear();
            world.next_legacy.clear();
            world.next_resizes.clear();
            world.next_overwrites.clear();
            world.next_backups.clear();
            text(200, "no faults\n")
        }
        ("POST", ["faults", name]) => {
            let times = times(incoming.query.as_deref());
            let Some(route) = route_of(incoming) else {
                return Some(text(
                    404,
                    "route: restore-to-payg, resize, restore, restore-from-vps, create-backup\n",
                ));
            };
            if inject(world, name, route, times) {
                text(200, &format!("{name}, {times} time(s)\n"))
            } else {
                text(404, &names())
            }
        }
        ("POST" | "PUT", ["job-duration", duration]) => match parse_duration(duration) {
            Some(duration) => {
                world.restore.job_duration = duration;
                world.overwrite.job_duration = duration;
                world.backup.job_duration = duration;
                world.restore.running_after = Some(duration + Duration::from_secs(1));
                text(200, &format!("{duration:?}\n"))
            }
            None => text(400, "a duration such as 500ms, 8s or 2m\n"),
        },
        ("POST" | "PUT", ["option", key, value]) => {
            let value = typed(&decode(value));
            let vps = vps_of(incoming);
            match world.vps_mut(&vps).and_then(|vps| vps.option_mut(key)) {
                Some(option) => {
                    option.current = value;
                    text(200, &format!("{key} = {}\n", option.current))
                }
                None => text(404, &format!("{vps} has no option {key}\n")),
            }
        }
        ("POST" | "PUT", ["prices", factor]) => {
            let vps = vps_of(incoming);
            match factor.parse() {
                Ok(factor) if world.vps(&vps).is_some() => {
                    world.reprice(&vps, factor);
                    text(200, &format!("prices times {factor}\n"))
                }
                Ok(_) => text(404, &format!("no VPS {vps}\n")),
                Err(_) => text(400, "a factor such as 1.25\n"),
            }
        }
        ("POST" | "PUT", ["apply", when]) => match parse_apply(when) {
            Some(apply) => {
                world.config.apply = apply;
                text(200, &format!("{apply:?}\n"))
            }
            None => text(400, "now, never, when-paid, or a duration such as 10s\n"),
        },
        ("GET", ["invoices"]) => json(invoices(world)),
        ("POST", ["invoices"]) => {
            let amount = parameter(incoming, "amount").unwrap_or_else(|| "199".to_owned());
            let id = world.ids.next("inv");
            match (amount.parse::<Decimal>(), world.vps_mut(&vps_of(incoming))) {
                (Ok(_), Some(vps)) => {
                    vps.blocking_invoice = Some(Invoice::open(&id, &amount));
                    text(200, &format!("{id}\n"))
                }
                (Ok(_), None) => text(404, "no such VPS\n"),
                (Err(_), _) => text(400, "an amount such as 199\n"),
            }
        }
        ("POST", ["invoices", id, "pay"]) => {
            if world.paid(id) {
                text(200, &format!("{id} is paid\n"))
            } else {
                text(404, &format!("{id} is not open\n"))
            }
        }
        _ => text(404, HELP),
    })
}

fn parameter(incoming: &Incoming, name: &str) -> Option<String> {
    let all = query(incoming.query.as_deref());
    all.into_iter()
        .find(|(own, _)| own == name)
        .map(|(_, value)| value)
}

fn vps_of(incoming: &Incoming) -> String {
    parameter(incoming, "vps").unwrap_or_else(|| SOURCE_VPS.to_owned())
}

/// The route that a fault on the answer is for.
fn route_of(incoming: &Incoming) -> Option<Route> {
    match parameter(incoming, "route").as_deref() {
        None | Some("restore-to-payg") => Some(Route::RestoreToPayg),
        Some("resize") => Some(Route::Resize),
        Some("restore") => Some(Route::Restore),
        Some("restore-from-vps") => Some(Route::RestoreFromVps),
        Some("create-backup") => Some(Route::CreateBackup),
        Some(_) => None,
    }
}

/// A number, `true` or `false`, else a text.
fn typed(text: &str) -> OptionValue {
    serde_json::from_str(text)
        .ok()
        .and_then(|value| OptionValue::from_json(&value))
        .unwrap_or_else(|| text.into())
}

fn parse_apply(text: &str) -> Option<Apply> {
    match text {
        "now" => Some(Apply::Now),
        "never" => Some(Apply::Never),
        "when-paid" => Some(Apply::WhenPaid),
        duration => parse_duration(duration).map(Apply::After),
    }
}

fn invoices(world: &World) -> Json {
    let blocking = world.accounts.iter().flat_map(|account| &account.vps);
    let blocking = blocking.filter_map(|vps| vps.blocking_invoice.as_ref());
    let others = blocking.filter(|own| world.invoices.iter().all(|made| made.id != own.id));
    Json::list(
        world
            .invoices
            .iter()
            .chain(&world.cancelled)
            .chain(others)
            .map(Invoice::json),
    )
}

fn text(status: u16, body: &str) -> Outgoing {
    let kind = ("Content-Type".to_owned(), "text/plain".to_owned());
    Outgoing::new(status, vec![kind], body.as_bytes().to_vec())
}

fn json(body: Json) -> Outgoing {
    let kind = ("Content-Type".to_owned(), "application/json".to_owned());
    let mut text = body.render();
    text.push('\n');
    Outgoing::new(200, vec![kind], text.into_bytes())
}

fn names() -> String {
    let mut text = String::from("faults:\n");
    for (name, meaning) in [&ANSWERS[..], &RESTORES, &OVERWRITES, &BACKUPS, &OTHERS].concat() {
        let _ = writeln!(text, "  {name:<18} {meaning}");
    }
    text
}

fn times(query: Option<&str>) -> u32 {
    query
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("times=")))
        .and_then(|times| times.parse().ok())
        .unwrap_or(1)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    match &text[unit..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn inject(world: &mut World, name: &str, route: Route, times: u32) -> bool {
    if let Some(fault) = named_fault(name, route) {
        world.faults.push(ArmedFault::new(fault.times(times)));
        return true;
    }
    let restore = named_restore(name, &world.restore);
    let config = named_config(name, &world.config);
    let legacy = (name == "legacy-executes").then(|| LegacyBehaviour {
        estimate_executes: true,
        estimate_says: EstimateSays::Upgraded,
        ..world.legacy.clone()
    });
    let resize = named_resize(name, &world.resize);
    let overwrite = named_overwrite(name, &world.overwrite);
    let backup = named_backup(name, &world.backup);
    let known = [
        restore.is_some(),
        config.is_some(),
        legacy.is_some(),
        resize.is_some(),
        overwrite.is_some(),
        backup.is_some(),
    ];
    for _ in 0..times.min(1000) {
        world.next_restores.extend(restore.clone());
        world.next_configs.extend(config.clone());
        world.next_legacy.extend(legacy.clone());
        world.next_resizes.extend(resize.clone());
        world.next_overwrites.extend(overwrite.clone());
        world.next_backups.extend(backup.clone());
    }
    known.contains(&true)
}

fn named_fault(name: &str, route: Route) -> Option<Fault> {
    let on_route = |acted: bool, answer: Answer| Some(Fault::on(route).acted(acted).answer(answer));
    let commit =
        |acted: bool, answer: Answer| Some(Fault::on(Route::ConfigCommit).acted(acted).answer(answer));
    match name {
        "config-lost-answer" => commit(true, Answer::reset()),
        "config-lost-request" => commit(false, Answer::reset()),
        "config-hang" => commit(true, Answer::silence()),
        "config-500" => commit(false, Answer::problem(500, "internal_error")),
        "config-502-acted" => commit(true, Answer::problem(502, "upstream_renewal_regeneration_failed")),
        "config-pending" => commit(false, Answer::problem(409, "pending_orders")),
        "config-limited" => commit(
            false,
            Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("5"),
        ),
        "options-down" => {
            Some(Fault::on(Route::UpgradeOptions).answer(Answer::problem(503, "upstream_unavailable")))
        }
        "legacy-lost-answer" => Some(
            Fault::on(Route::LegacyUpgrade)
                .acted(true)
                .answer(Answer::reset()),
        ),
        "lost-answer" => on_route(true, Answer::reset()),
        "lost-request" => on_route(false, Answer::reset()),
        "cut-answer" => on_route(true, Answer::normal().cut_body_after(40)),
        "hang" => on_route(true, Answer::silence()),
        "500-acted" => on_route(true, Answer::problem(500, "internal_error")),
        "500" => on_route(false, Answer::problem(500, "internal_error")),
        "502-acted" => on_route(true, Answer::html(502)),
        "503-acted" => on_route(true, Answer::problem(503, "upstream_unavailable")),
        "garbled-202" => on_route(true, Answer::broken_json(202)),
        "rate-limited" => on_route(
            false,
            Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("5"),
        ),
        "blocked" => on_route(false, Answer::blocked(403, "forbidden", &["not_verified"])),
        "redirect" => on_route(false, Answer::redirect(307, "http://192.0.2.1/")),
        "reads-down" => Some(Fault::on(Route::ListVps).answer(Answer::problem(503, "upstream_unavailable"))),
        "jobs-down" => Some(Fault::on(Route::Job).answer(Answer::html(502))),
        _ => None,
    }
}

fn named_restore(name: &str, usual: &RestoreBehaviour) -> Option<RestoreBehaviour> {
    let mut restore = usual.clone();
    match name {
        "job-failed" => restore.outcome = Outcome::FailsWithVm,
        "job-failed-no-vm" => restore.outcome = Outcome::FailsWithoutVm,
        "job-lost" => restore.view.forget = JobForget::AfterPolls(0),
        "job-never-ends" => restore.outcome = Outcome::NeverEnds,
        "no-result" => restore.view.result = JobResult::Null,
        "list-lag" => restore.list_lag = 5,
        "never-boots" => restore.boots = Boots::Never,
        "no-ip" => restore.boots = Boots::WithoutIp,
        _ => return None,
    }
    Some(restore)
}

fn named_config(name: &str, usual: &ConfigBehaviour) -> Option<ConfigBehaviour> {
    let mut config = usual.clone();
    match name {
        "config-dearer" => config.price_factor *= Decimal::TWO,
        "config-unpaid" => config.apply = Apply::WhenPaid,
        "config-late" => config.apply = Apply::After(Duration::from_secs(10)),
        "config-ignored" => config.apply = Apply::Never,
        _ => return None,
    }
    Some(config)
}

fn named_resize(name: &str, usual: &ResizeBehaviour) -> Option<ResizeBehaviour> {
    let mut resize = usual.clone();
    match name {
        "resize-late" => resize.apply = Apply::After(Duration::from_secs(10)),
        "resize-ignored" => resize.apply = Apply::Never,
        _ => return None,
    }
    Some(resize)
}

fn named_overwrite(name: &str, usual: &OverwriteBehaviour) -> Option<OverwriteBehaviour> {
    let mut overwrite = usual.clone();
    match name {
        "overwrite-torn" => overwrite.outcome = OverwriteOutcome::FailsTorn,
        "overwrite-untouched" => overwrite.outcome = OverwriteOutcome::FailsUntouched,
        "overwrite-written" => overwrite.outcome = OverwriteOutcome::FailsWritten,
        "overwrite-job-lost" => overwrite.view.forget = JobForget::AfterPolls(0),
        "overwrite-never-ends" => overwrite.outcome = OverwriteOutcome::NeverEnds,
        "overwrite-stays-down" => overwrite.comes_up = false,
        _ => return None,
    }
    Some(overwrite)
}

fn named_backup(name: &str, usual: &BackupBehaviour) -> Option<BackupBehaviour> {
    let mut backup = usual.clone();
    match name {
        "backup-failed" => backup.outcome = BackupOutcome::FailsWithoutBackup,
        "backup-failed-made" => backup.outcome = BackupOutcome::FailsWithBackup,
        "backup-job-lost" => backup.view.forget = JobForget::AfterPolls(0),
        "backup-never-ends" => backup.outcome = BackupOutcome::NeverEnds,
        "backup-lag" => backup.list_lag = 5,
        "backup-unfinished" => backup.listed = Listed::AtOnce,
        _ => return None,
    }
    Some(backup)
}

fn purchase(line: &Purchase) -> Json {
    let mut json = Json::object([
        ("sequence", line.sequence.into()),
        ("at", iso(line.at).into()),
        ("account", line.account.0.into()),
        ("key", (&line.key).into()),
        ("kind", format!("{:?}", line.kind).into()),
        ("sourceVps", (&line.source_vps).into()),
    ]);
    let members = if let Some(config) = &line.config {
        config_members(config)
    } else if let Some(resize) = &line.resize {
        resize_members(line, resize)
    } else if let Some(overwrite) = &line.overwrite {
        overwrite_members(line, overwrite)
    } else if let Some(made) = &line.backup_made {
        vec![
            ("backup", made.backup.as_ref().into()),
            ("note", made.note.as_ref().into()),
            ("jobId", (&line.job_id).into()),
        ]
    } else if let Some(legacy) = &line.legacy {
        vec![
            ("vmid", legacy.vmid.into()),
            ("wasEstimate", legacy.was_estimate.into()),
            ("total", legacy.total.into()),
            ("currencyCode", (&legacy.currency_code).into()),
            ("orderId", legacy.order_id.into()),
        ]
    } else {
        vec![
            ("backup", (&line.backup).into()),
            ("name", (&line.name).into()),
            ("region", (&line.region).into()),
            ("cpuCores", line.cpu_cores.into()),
            ("memoryGb", line.memory_gb.into()),
            ("storageGb", line.storage_gb.into()),
            ("perHour", line.per_hour.into()),
            ("currencyCode", (&line.pricing.currency_code).into()),
            ("vpsId", line.vps_id.as_ref().into()),
            ("jobId", (&line.job_id).into()),
        ]
    };
    for (name, value) in members {
        json.push(name, value);
    }
    json.push("bodySha256", (&line.body_sha256).into());
    json
}

fn config_members(config: &ConfigPurchase) -> Vec<(&'static str, Json)> {
    let changes = config.changes.iter().map(|change| {
        Json::object([
            ("key", (&change.key).into()),
            ("from", change.from.json()),
            ("to", change.to.json()),
        ])
    });
    vec![
        ("amount", config.price.amount.into()),
        ("recurringAmount", config.price.recurring_amount.into()),
        ("currencyCode", (&config.price.currency_code).into()),
        ("billingCycle", config.billing_cycle.as_ref().into()),
        ("invoice", config.invoice.as_ref().into()),
        ("cancelledInvoice", config.cancelled_invoice.as_ref().into()),
        ("changes", Json::list(changes)),
    ]
}

fn resize_members(line: &Purchase, resize: &ResizePurchase) -> Vec<(&'static str, Json)> {
    vec![
        ("cpuCores", line.cpu_cores.into()),
        ("memoryGb", line.memory_gb.into()),
        ("from", resize.from.json()),
        ("to", resize.to.json()),
        ("perHourBefore", resize.per_hour_before.into()),
        ("perHour", line.per_hour.into()),
        ("currencyCode", (&line.pricing.currency_code).into()),
    ]
}

fn overwrite_members(line: &Purchase, overwrite: &Overwrite) -> Vec<(&'static str, Json)> {
    vec![
        ("target", (&overwrite.target).into()),
        ("backup", (&overwrite.backup).into()),
        ("source", (&overwrite.source).into()),
        ("before", overwrite.before.word().into()),
        ("touched", overwrite.touched.into()),
        ("jobId", (&line.job_id).into()),
    ]
}

fn request(record: &RequestRecord) -> Json {
    let headers: &BTreeMap<String, String> = &record.headers;
    Json::object([
        ("index", record.index.into()),
        ("at", iso(record.at).into()),
        ("connection", record.connection.into()),
        ("route", format!("{:?}", record.route).into()),
        ("method", (&record.method).into()),
        ("path", (&record.path).into()),
        ("query", record.query.as_ref().into()),
        (
            "headers",
            Json::Object(
                headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.into()))
                    .collect(),
            ),
        ),
        ("body", record.body_text().into()),
        ("acted", record.acted.into()),
        ("fault", record.fault.as_ref().into()),
        ("status", record.status.map(u32::from).into()),
        ("finish", record.finish.map(|finish| format!("{finish:?}")).into()),
    ])
}

fn vps(world: &World) -> Json {
    let now = world.now();
    let all = world.accounts.iter().flat_map(|account| &account.vps);
    Json::list(all.map(|vps| {
        Json::object([
            ("id", (&vps.id).into()),
            ("name", (&vps.name).into()),
            ("isPayg", vps.billing.is_payg.into()),
            ("powerState", vps.power_state_at(now).into()),
            ("primaryIp", vps.primary_ip_at(now).into()),
            ("resources", vps.resources.json()),
            ("content", vps.content.word().into()),
            ("backups", Json::list(vps.backups.iter().map(|backup| &backup.id))),
            (
                "options",
                Json::Object(
                    vps.options
                        .iter()
                        .map(|option| (option.key.clone(), option.current.json()))
                        .collect(),
                ),
            ),
        ])
    }))
}
