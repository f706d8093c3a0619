//! A provider that sends what nobody should store, show or follow; and a key that must stay where it is.

use std::time::Duration;

use base64ish::base64;
use futures::future::join_all;
use hostup_sim::{
    ActionGate, Answer, Backup, Convert, JobView, NameAs, Oddities, Outcome, RestoreBehaviour, Route, Sim,
    Vps,
};
use serde_json::json;

use crate::support::printable::{everything, evil, logged_is_json, peak_memory, quoted, stored_is_printable};
use crate::support::{KEY, PATIENCE, Stage, Tenant, at, ready, reason};

#[tokio::test]
async fn hostile_gates_are_shown_printable_and_bounded() {
    let stage = Stage::new("evilgates").await;
    let operator = stage.operator_for_many(&[]);
    let evil = evil();
    let words: Vec<&str> = vec![&evil; 50];
    let names = ["restore", "convert", "deploy", "region", "lists"];
    let tenants = join_all(names.map(|name| stage.tenant(name))).await;
    stage.sim.world(|world| {
        let closed = ActionGate::closed(&evil, Some(&evil));
        world.vps_mut(&tenants[0].vps).unwrap().can_restore = closed.clone();
        let mut convert = Convert::blocked(&evil, &words).with_prepaid_warning();
        convert.prepaid_warning = Some((evil.clone(), evil.clone(), 18));
        world.vps_mut(&tenants[1].vps).unwrap().convert = Some(convert);
        world.account_mut(tenants[2].account).can_deploy = closed;
        let account = world.account_mut(tenants[3].account);
        account.regions = vec![evil.clone(); 30];
        account.default_region = evil.clone();
        let account = tenants[4].account;
        world.add_vps(account, Vps::payg("vps_neighbour", &evil, 1, 1, 50));
        world.add_backup(&tenants[4].vps, Backup::new(&evil, "3.5"));
        world.add_backup(
            &tenants[4].vps,
            Backup::new("bkp_odd", "3.5").created(Some(&evil)),
        );
        world.vps_mut(&tenants[4].vps).unwrap().can_restore = ActionGate::open_with_code(&evil);
    });
    join_all(tenants.iter().map(|tenant| async {
        let mut object = tenant.restore(&stage);
        // Without a region of its own it gets the provider's default.
        let target = object["spec"]["target"]["cloudVm"].as_object_mut().unwrap();
        target.remove("region");
        stage.create(object).await;
        let wanted = if tenant.name == "lists" {
            "Restored"
        } else {
            "GatesClosed"
        };
        stage.wait_for_reason(&tenant.name, wanted).await;
    }))
    .await;
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    stored_is_printable(&stage).await;
    logged_is_json(&operator);
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_hostile_region_is_never_ordered() {
    let stage = Stage::new("evilregion").await;
    let operator = stage.operator_for_many(&[]);
    let long = "x".repeat(5_000);
    let regions = [
        ("forged", "north\r\n\u{202e}\u{1b}[31m"),
        ("long", &long),
        ("quote", "a\",\"cpuCores\":32,\"x\":\""),
    ];
    join_all(regions.map(|(name, region)| {
        let stage = &stage;
        async move {
            let tenant = stage.tenant(name).await;
            stage.sim.world(|world| {
                let account = world.account_mut(tenant.account);
                account.regions = vec![region.to_owned()];
                account.default_region = region.to_owned();
            });
            let mut object = tenant.restore(stage);
            object["spec"]["target"]["cloudVm"]
                .as_object_mut()
                .unwrap()
                .remove("region");
            stage.create(object).await;
            let object = stage.wait_for_reason(name, "GatesClosed").await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(message.contains("set target.cloudVm.region"), "{name}: {message}");
        }
    }))
    .await;
    assert_eq!(stage.posts(), 0);
    stored_is_printable(&stage).await;
    logged_is_json(&operator);
    stage.check_invariants().await;
}

#[tokio::test]
async fn hostile_answers_and_jobs_are_shown_printable_and_bounded() {
    let stage = Stage::new("eviljobs").await;
    let operator = stage.operator_for_many(&[]);
    let evil = evil();
    let order = |name: &'static str,
                 behaviour: RestoreBehaviour,
                 answer: Option<(bool, Answer)>,
                 end: &'static str| { (name, behaviour, answer, end) };
    let default = RestoreBehaviour::default;
    let refused = Answer::problem(403, "forbidden")
        .detail(&evil)
        .set("/code", &quoted("no_cloud_access"))
        .set("/blockerReasons", &json!(vec!["not_verified"; 3_000]).to_string());
    let rows = [
        order("refused", default(), Some((false, refused)), "Rejected"),
        order(
            "unclear",
            default(),
            Some((false, Answer::problem(500, &evil).detail(&evil))),
            "OutcomeUnknown",
        ),
        order(
            "page",
            default(),
            Some((false, Answer::raw(200, evil.clone()))),
            "OutcomeUnknown",
        ),
        order(
            "job-id",
            default(),
            Some((true, Answer::normal().set("/operation/jobId", &quoted(&evil)))),
            "Restored",
        ),
        order(
            "word",
            default(),
            Some((true, Answer::normal().set("/operation/status", &quoted(&evil)))),
            "Restored",
        ),
        order(
            "failed",
            RestoreBehaviour {
                view: JobView {
                    error: evil.clone(),
                    ..JobView::default()
                },
                ..RestoreBehaviour::ending(Outcome::FailsWithVm)
            },
            None,
            "VpsLeftBilling",
        ),
        order(
            "running",
            RestoreBehaviour {
                view: JobView {
                    running_word: Some(evil.clone()),
                    ..JobView::default()
                },
                ..default()
            },
            None,
            "Restored",
        ),
        order(
            "named",
            RestoreBehaviour {
                name_as: NameAs::Suffixed(format!(".{evil}")),
                ..default()
            },
            None,
            "Restored",
        ),
    ];
    let mut tenants: Vec<(Tenant, &str)> = Vec::new();
    for (name, behaviour, answer, end) in rows {
        let tenant = stage.tenant(name).await;
        let acted = answer.as_ref().is_none_or(|(acted, _)| *acted);
        if let Some((acted, answer)) = answer {
            let fault = tenant.fault(Route::RestoreToPayg).acted(acted);
            stage.sim.inject(fault.answer(answer));
        }
        if acted {
            stage.sim.world(|world| world.restore_next(behaviour));
        }
        stage.create(tenant.restore(&stage)).await;
        let account = tenant.account;
        let posted = move |world: &hostup_sim::World| {
            world
                .requests_on(Route::RestoreToPayg)
                .any(|post| post.is_from(account))
        };
        assert!(stage.sim.until(PATIENCE, posted).await, "{name}");
        tenants.push((tenant, end));
    }
    join_all(
        tenants
            .iter()
            .map(|(tenant, end)| stage.wait_for_reason(&tenant.name, end)),
    )
    .await;
    assert_eq!(stage.sim.unfired(), Vec::<String>::new());
    assert_eq!((stage.posts(), stage.executed()), (8, 5));
    stored_is_printable(&stage).await;
    logged_is_json(&operator);
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_vm_with_a_hostile_id_or_address_is_recorded_printable_and_bounded() {
    let evil = evil();
    let long = format!("vps_{}", "x".repeat(300));
    let rows = [
        ("evilid", Route::ListVps, "/data/1/id", evil.clone()),
        ("longid", Route::ListVps, "/data/1/id", long),
        ("evilip", Route::Any, "/primaryIp", evil),
    ];
    join_all(rows.map(|(name, route, pointer, text)| async move {
        let stage = Stage::new(name).await;
        stage
            .sim
            .world(|world| world.patch(route, pointer, Some(&quoted(&text))));
        let operator = stage.operator_for_many(&[]);
        stage.create(stage.approved("web")).await;
        let recorded = stage
            .wait("web", "the VM recorded", |object| {
                at(object, "status.operation.state") == "Succeeded"
            })
            .await;
        assert!(["Booting", "Restored"].contains(&reason(&recorded)), "{recorded}");
        assert_eq!((stage.posts(), stage.executed()), (1, 1), "{name}");
        stored_is_printable(&stage).await;
        logged_is_json(&operator);
        stage.check_invariants().await;
    }))
    .await;
}

#[tokio::test]
async fn a_hostile_refusal_of_a_read_is_shown_printable_and_bounded() {
    let stage = Stage::new("evilreads").await;
    let operator = stage.operator_for_many(&[]);
    let evil = evil();
    let rows = [
        (401, "unauthorized", "Unauthorized"),
        (403, "forbidden", "Unauthorized"),
        (404, "not_found", "VpsNotFound"),
        (500, "internal_error", "ProviderUnavailable"),
    ];
    join_all(rows.map(|(status, code, wanted)| {
        let (stage, evil) = (&stage, &evil);
        async move {
            let tenant = stage.tenant(&format!("r{status}")).await;
            let answer = Answer::problem(status, code)
                .detail(evil)
                .set("/title", &quoted(evil));
            stage
                .sim
                .inject(tenant.fault(Route::GetVps).times(6).answer(answer));
            stage.create(tenant.restore(stage)).await;
            stage.wait_for_reason(&tenant.name, wanted).await;
            // It clears itself.
            stage.wait_for_reason(&tenant.name, "Restored").await;
        }
    }))
    .await;
    assert_eq!(stage.sim.unfired(), Vec::<String>::new());
    stored_is_printable(&stage).await;
    logged_is_json(&operator);
    stage.check_invariants().await;
}

const READS: [Route; 6] = [
    Route::GetVps,
    Route::ListBackups,
    Route::ConvertToCloud,
    Route::PaygDeployments,
    Route::PaygLimits,
    Route::ListVps,
];

#[tokio::test]
async fn a_read_that_is_huge_deep_or_a_redirect_is_unavailable_and_the_next_one_recovers() {
    let stage = Stage::new("evilbodies").await;
    let foreign = Sim::start();
    let operator = stage.operator_for_many(&[]);
    let answers = [
        ("big", Answer::big(200, 5_000_000)),
        ("big404", Answer::big(404, 5_000_000)),
        ("deep", Answer::deep(200, 10_000)),
        (
            "moved",
            Answer::redirect(307, &format!("{}/api/v2/vps", foreign.url())),
        ),
        ("gzip", Answer::raw(200, vec![0x1f, 0x8b, 8, 0]).gzip_claim()),
    ];
    let rows = answers
        .iter()
        .flat_map(|answer| READS.map(|route| (answer, route)));
    join_all(rows.map(|((what, answer), route)| {
        let stage = &stage;
        async move {
            let name = format!("{what}-{route:?}").to_lowercase();
            let tenant = stage.tenant(&name).await;
            // A read is tried three times before it counts as failed.
            let fault = tenant.fault(route).times(3).answer(answer.clone());
            stage.sim.inject(fault);
            stage.create(tenant.restore(stage)).await;
            let object = stage.wait_for_reason(&name, "ProviderUnavailable").await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(
                message.contains("HostUp does not answer usefully"),
                "{name}: {message}"
            );
            let object = stage.wait_for_reason(&name, "Restored").await;
            assert_eq!(ready(&object)["status"], "True", "{name}");
            assert_eq!(
                (stage.posts_of(&tenant).len(), stage.executed_of(&tenant)),
                (1, 1),
                "{name}"
            );
        }
    }))
    .await;
    assert_eq!(stage.sim.unfired(), Vec::<String>::new());
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
    let peak = peak_memory(&operator);
    assert!(peak < 150_000, "the operator took {peak} kB");
    stored_is_printable(&stage).await;
    logged_is_json(&operator);
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_good_answer_with_a_deep_unknown_member_is_read() {
    let stage = Stage::new("evildepth").await;
    let _operator = stage.operator_for_many(&[]);
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    stage.sim.world(|world| {
        for route in READS {
            world.patch(route, "/deep", Some(&deep));
        }
    });
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    stage.check_invariants().await;
}

#[tokio::test]
async fn unknown_fields_words_and_nulls_everywhere_still_restore() {
    // A backup without a time is one that is not complete, and a VM without an address is booting.
    let rest = [&READS[..], &[Route::VpsStatus, Route::Job, Route::RestoreToPayg]].concat();
    let can_be_null = rest.into_iter().filter(|route| *route != Route::ListBackups);
    let nulls: Vec<Route> = can_be_null.collect();
    let odd = |nulls: &[Route], extra_fields: &[Route], unknown_words: &[Route]| Oddities {
        nulls: nulls.to_vec(),
        extra_fields: extra_fields.to_vec(),
        unknown_words: unknown_words.to_vec(),
        ..Oddities::default()
    };
    let any = [Route::Any];
    let rows = [
        ("extra", odd(&[], &any, &[]), "Restored"),
        ("words", odd(&[], &[], &any), "Restored"),
        ("nulls", odd(&nulls, &[], &[]), "Booting"),
        ("all", odd(&nulls, &any, &any), "Booting"),
        ("backups", odd(&any, &[], &[]), "BackupNotFound"),
    ];
    join_all(rows.map(|(name, odd, first)| async move {
        let stage = Stage::new(name).await;
        stage.sim.world(|world| world.odd = odd);
        let _operator = stage.operator_for_many(&[]);
        stage.create(stage.approved("web")).await;
        stage.wait_for_reason("web", first).await;
        stage.sim.world(|world| world.odd = Oddities::default());
        stage.wait_for_reason("web", "Restored").await;
        assert_eq!((stage.posts(), stage.executed()), (1, 1), "{name}");
        stage.check_invariants().await;
    }))
    .await;
}

#[tokio::test]
async fn the_key_stands_nowhere_but_in_its_header_to_the_configured_origin() {
    join_all(["json", "text"].map(|format| async move {
        let stage = Stage::new(&format!("key{format}")).await;
        let foreign = Sim::start();
        let log = format!("--log-format={format}");
        let operator = stage.operator_with(
            &[&log, "--workers=16", "--request-timeout=8s", "--paid-timeout=9s"],
            &[("RUST_LOG", "trace")],
        );
        let away = |path: &str| Answer::redirect(302, &format!("{}{path}", foreign.url()));
        let echo = |key: &str| Answer::problem(403, "forbidden").detail(&format!("the key {key} may not"));
        let good = stage.tenant("good").await;
        let lost = stage.tenant("lost").await;
        let moved = stage.tenant("moved").await;
        let silent = stage.tenant("silent").await;
        let reset = stage.tenant("reset").await;
        stage.sim.inject(
            lost.fault(Route::RestoreToPayg)
                .acted(true)
                .answer(away("/api/jobs/x")),
        );
        stage
            .sim
            .inject(moved.fault(Route::GetVps).times(3).answer(away("/api/v2/vps/x")));
        stage.sim.inject(
            reset
                .fault(Route::RestoreToPayg)
                .acted(true)
                .answer(Answer::reset()),
        );
        let hours = Duration::from_secs(4);
        stage
            .sim
            .inject(silent.fault(Route::ListVps).answer(Answer::silence_for(hours)));
        for tenant in [&good, &lost, &moved, &silent, &reset] {
            stage.create(tenant.restore(&stage)).await;
        }
        for tenant in [&good, &lost, &moved, &silent, &reset] {
            stage.wait_for_reason(&tenant.name, "Restored").await;
        }
        // A key that is refused, and one that no header can carry.
        let revoked = stage.tenant("revoked").await;
        stage.sim.world(|world| world.revoke_key(&revoked.key));
        stage.create(revoked.restore(&stage)).await;
        let broken = stage.tenant("broken").await;
        stage.put_key("broken", &format!("{KEY}\u{1}å\nX-Other: 1")).await;
        stage.create(broken.restore(&stage)).await;
        stage.wait_for_reason("revoked", "Unauthorized").await;
        stage
            .wait("broken", "a refusal of the key", |object| {
                ready(object)["status"] == "False"
            })
            .await;
        // A provider that repeats the key in its own words is the provider's leak, yet not ours to store.
        let told = stage.tenant("told").await;
        stage
            .sim
            .inject(told.fault(Route::GetVps).answer(echo(&told.key)));
        stage.create(told.restore(&stage)).await;
        stage.wait_for_reason("told", "Restored").await;

        assert_eq!(stage.sim.unfired(), Vec::<String>::new());
        assert_eq!(foreign.world(|world| world.connections().len()), 0);
        let mut places: Vec<(String, String)> = operator
            .log()
            .into_iter()
            .map(|line| ("the log".to_owned(), line))
            .collect();
        if format == "json" {
            places.push(("the metrics".to_owned(), operator.metrics()));
        }
        for object in everything(&stage).await {
            places.push((object["kind"].to_string(), object.to_string()));
        }
        // Whatever follows the common part of all keys of the stage, and at any offset of base64.
        let forms = [KEY.to_owned(), base64(KEY, 0), base64(KEY, 1), base64(KEY, 2)];
        for (place, text) in &places {
            for form in &forms {
                assert!(!text.contains(form), "the key stands in {place}: {text}");
            }
        }
        assert!(
            places.len() > 1_000,
            "only {} places were looked at",
            places.len()
        );
        for request in stage.sim.requests() {
            assert!(request.headers.contains_key("authorization"), "{}", request.path);
        }
        if format == "json" {
            logged_is_json(&operator);
        }
        stage.check_invariants().await;
    }))
    .await;
}

mod base64ish {
    /// The part of the base64 of `text` that is the same whatever follows it, when it begins at this
    /// offset within a group of three bytes.
    pub fn base64(text: &str, offset: usize) -> String {
        let padded = [vec![0; offset], text.as_bytes().to_vec()].concat();
        let whole = &padded[..padded.len() / 3 * 3];
        data_encoding::BASE64.encode(whole)[(offset * 4).div_ceil(3)..].to_owned()
    }
}
