//! The admin API of the demonstration, under `/_sim/` on the same port, off unless
//! [`World::admin`] is set. It is no part of the provider's API and its calls are not logged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::answers::{Answer, RateLimitStyle};
use crate::clock::iso;
use crate::faults::{ArmedFault, Fault};
use crate::http::{Incoming, Outgoing};
use crate::job::{JobForget, JobResult};
use crate::ledger::Purchase;
use crate::log::RequestRecord;
use crate::restore::{Boots, Outcome, RestoreBehaviour};
use crate::routes::Route;
use crate::wire::Json;
use crate::world::World;

const HELP: &str = "\
hostup-sim, admin API
  GET    /_sim/purchases               the ledger: what was executed, whatever was answered
  GET    /_sim/requests                what arrived and what was answered
  GET    /_sim/vps                     every VPS, visible or not
  GET    /_sim/faults                  the names of faults
  POST   /_sim/faults/NAME?times=N     inject one (times: 1 unless said)
  DELETE /_sim/faults                  take all faults back
  GET    /_sim/unfired                 faults that did not fire yet
  POST   /_sim/job-duration/DURATION   for coming restores: 500ms, 8s, 2m
";

/// Faults by name: on the answer, then on the restore itself.
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
            text(200, "no faults\n")
        }
        ("POST", ["faults", name]) => {
            let times = times(incoming.query.as_deref());
            if inject(world, name, times) {
                text(200, &format!("{name}, {times} time(s)\n"))
            } else {
                text(404, &names())
            }
        }
        ("POST" | "PUT", ["job-duration", duration]) => match parse_duration(duration) {
            Some(duration) => {
                world.restore.job_duration = duration;
                world.restore.running_after = Some(duration + Duration::from_secs(1));
                text(200, &format!("{duration:?}\n"))
            }
            None => text(400, "a duration such as 500ms, 8s or 2m\n"),
        },
        _ => text(404, HELP),
    })
}

fn text(status: u16, body: &str) -> Outgoing {
    let kind = ("Content-Type".to_owned(), "text/plain".to_owned());
    Outgoing::new(status, &[kind], body.as_bytes().to_vec())
}

fn json(body: Json) -> Outgoing {
    let kind = ("Content-Type".to_owned(), "application/json".to_owned());
    let mut text = body.render();
    text.push('\n');
    Outgoing::new(200, &[kind], text.into_bytes())
}

fn names() -> String {
    let mut text = String::from("faults:\n");
    for (name, meaning) in ANSWERS.iter().chain(&RESTORES) {
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

fn inject(world: &mut World, name: &str, times: u32) -> bool {
    if let Some(fault) = named_fault(name) {
        world.faults.push(ArmedFault::new(fault.times(times)));
        return true;
    }
    let Some(behaviour) = named_restore(name, &world.restore) else {
        return false;
    };
    for _ in 0..times.min(1000) {
        world.restore_next(behaviour.clone());
    }
    true
}

fn named_fault(name: &str) -> Option<Fault> {
    let restore =
        |acted: bool, answer: Answer| Some(Fault::on(Route::RestoreToPayg).acted(acted).answer(answer));
    match name {
        "lost-answer" => restore(true, Answer::reset()),
        "lost-request" => restore(false, Answer::reset()),
        "cut-answer" => restore(true, Answer::normal().cut_body_after(40)),
        "hang" => restore(true, Answer::silence()),
        "500-acted" => restore(true, Answer::problem(500, "internal_error")),
        "500" => restore(false, Answer::problem(500, "internal_error")),
        "502-acted" => restore(true, Answer::html(502)),
        "503-acted" => restore(true, Answer::problem(503, "upstream_unavailable")),
        "garbled-202" => restore(true, Answer::broken_json(202)),
        "rate-limited" => restore(
            false,
            Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("5"),
        ),
        "blocked" => restore(false, Answer::blocked(403, "forbidden", &["not_verified"])),
        "redirect" => restore(false, Answer::redirect(307, "http://192.0.2.1/")),
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

fn purchase(line: &Purchase) -> Json {
    Json::object([
        ("sequence", line.sequence.into()),
        ("at", iso(line.at).into()),
        ("account", line.account.0.into()),
        ("key", (&line.key).into()),
        ("kind", format!("{:?}", line.kind).into()),
        ("sourceVps", (&line.source_vps).into()),
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
        ("bodySha256", (&line.body_sha256).into()),
    ])
}

fn request(record: &RequestRecord) -> Json {
    let headers: &BTreeMap<String, String> = &record.headers;
    Json::object([
        ("index", record.index.into()),
        ("at", iso(record.at).into()),
        ("connection", record.connection.into()),
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
            ("backups", Json::list(vps.backups.iter().map(|backup| &backup.id))),
        ])
    }))
}
