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
use crate::support::{Customer, KEY, PATIENCE, TestEnv, at, ready, reason};

#[tokio::test]
async fn hostile_gates_are_shown_printable_and_bounded() {
    let env = TestEnv::new("evilgates").await;
    let operator = env.operator_for_many(&[]);
    let evil = evil();
    let words: Vec<&str> = vec![&evil; 50];
    let names = ["restore", "convert", "deploy", "region", "lists"];
    let customers = join_all(names.map(|name| env.customer(name))).await;
    env.sim.world(|world| {
        let closed = ActionGate::closed(&evil, Some(&evil));
        world.vps_mut(&customers[0].vps).unwrap().can_restore = closed.clone();
        let mut convert = Convert::blocked(&evil, &words).with_prepaid_warning();
        convert.prepaid_warning = Some((evil.clone(), evil.clone(), 18));
        world.vps_mut(&customers[1].vps).unwrap().convert = Some(convert);
        world.account_mut(customers[2].account).can_deploy = closed;
        let account = world.account_mut(customers[3].account);
        account.regions = vec![evil.clone(); 30];
        account.default_region = evil.clone();
        let account = customers[4].account;
        world.add_vps(account, Vps::payg("vps_neighbour", &evil, 1, 1, 50));
        world.add_backup(&customers[4].vps, Backup::new(&evil, "3.5"));
        world.add_backup(
            &customers[4].vps,
            Backup::new("bkp_odd", "3.5").created(Some(&evil)),
        );
        world.vps_mut(&customers[4].vps).unwrap().can_restore = ActionGate::open_with_code(&evil);
    });
    join_all(customers.iter().map(|customer| async {
        let mut object = customer.restore(&env);
        // Without a region of its own it gets the provider's default.
        let target = object["spec"]["target"]["cloudVm"].as_object_mut().unwrap();
        target.remove("region");
        env.create(object).await;
        let wanted = if customer.name == "lists" {
            "Restored"
        } else {
            "GatesClosed"
        };
        env.wait_for_reason(&customer.name, wanted).await;
    }))
    .await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_hostile_region_is_never_ordered() {
    let env = TestEnv::new("evilregion").await;
    let operator = env.operator_for_many(&[]);
    let long = "x".repeat(5_000);
    let regions = [
        ("forged", "north\r\n\u{202e}\u{1b}[31m"),
        ("long", &long),
        ("quote", "a\",\"cpuCores\":32,\"x\":\""),
    ];
    join_all(regions.map(|(name, region)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            env.sim.world(|world| {
                let account = world.account_mut(customer.account);
                account.regions = vec![region.to_owned()];
                account.default_region = region.to_owned();
            });
            let mut object = customer.restore(env);
            object["spec"]["target"]["cloudVm"]
                .as_object_mut()
                .unwrap()
                .remove("region");
            env.create(object).await;
            let object = env.wait_for_reason(name, "GatesClosed").await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(
                message.contains("sets target.cloudVm.region"),
                "{name}: {message}"
            );
        }
    }))
    .await;
    assert_eq!(env.posts(), 0);
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
}

#[tokio::test]
async fn hostile_answers_and_jobs_are_shown_printable_and_bounded() {
    let env = TestEnv::new("eviljobs").await;
    let operator = env.operator_for_many(&[]);
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
    let mut customers: Vec<(Customer, &str)> = Vec::new();
    for (name, behaviour, answer, end) in rows {
        let customer = env.customer(name).await;
        let acted = answer.as_ref().is_none_or(|(acted, _)| *acted);
        if let Some((acted, answer)) = answer {
            let fault = customer.fault(Route::RestoreToPayg).acted(acted);
            env.sim.inject(fault.answer(answer));
        }
        if acted {
            env.sim.world(|world| world.restore_next(behaviour));
        }
        env.create(customer.restore(&env)).await;
        let account = customer.account;
        let posted = move |world: &hostup_sim::World| {
            world
                .requests_on(Route::RestoreToPayg)
                .any(|post| post.is_from(account))
        };
        assert!(env.sim.until(PATIENCE, posted).await, "{name}");
        customers.push((customer, end));
    }
    join_all(
        customers
            .iter()
            .map(|(customer, end)| env.wait_for_reason(&customer.name, end)),
    )
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!((env.posts(), env.executed()), (8, 5));
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
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
        let env = TestEnv::new(name).await;
        env.sim
            .world(|world| world.patch(route, pointer, Some(&quoted(&text))));
        let operator = env.operator_for_many(&[]);
        env.create(env.approved("web")).await;
        let recorded = env
            .wait("web", "the VM recorded", |object| {
                at(object, "status.operation.state") == "Succeeded"
            })
            .await;
        assert!(["Booting", "Restored"].contains(&reason(&recorded)), "{recorded}");
        assert_eq!((env.posts(), env.executed()), (1, 1), "{name}");
        stored_is_printable(&env).await;
        logged_is_json(&operator);
        env.check_invariants().await;
    }))
    .await;
}

#[tokio::test]
async fn a_hostile_refusal_of_a_read_is_shown_printable_and_bounded() {
    let env = TestEnv::new("evilreads").await;
    let operator = env.operator_for_many(&[]);
    let evil = evil();
    let rows = [
        (401, "unauthorized", "Unauthorized"),
        (403, "forbidden", "Unauthorized"),
        (404, "not_found", "VpsNotFound"),
        (500, "internal_error", "ProviderUnavailable"),
    ];
    join_all(rows.map(|(status, code, wanted)| {
        let (env, evil) = (&env, &evil);
        async move {
            let customer = env.customer(&format!("r{status}")).await;
            let answer = Answer::problem(status, code)
                .detail(evil)
                .set("/title", &quoted(evil));
            env.sim
                .inject(customer.fault(Route::GetVps).times(6).answer(answer));
            env.create(customer.restore(env)).await;
            env.wait_for_reason(&customer.name, wanted).await;
            // It clears itself.
            env.wait_for_reason(&customer.name, "Restored").await;
        }
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
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
    let env = TestEnv::new("evilbodies").await;
    let foreign = Sim::start();
    let operator = env.operator_for_many(&[]);
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
        let env = &env;
        async move {
            let name = format!("{what}-{route:?}").to_lowercase();
            let customer = env.customer(&name).await;
            // A read is tried three times before it counts as failed.
            let fault = customer.fault(route).times(3).answer(answer.clone());
            env.sim.inject(fault);
            env.create(customer.restore(env)).await;
            let object = env.wait_for_reason(&name, "ProviderUnavailable").await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(
                message.contains("HostUp does not answer usefully"),
                "{name}: {message}"
            );
            let object = env.wait_for_reason(&name, "Restored").await;
            assert_eq!(ready(&object)["status"], "True", "{name}");
            assert_eq!(
                (env.posts_of(&customer).len(), env.executed_of(&customer)),
                (1, 1),
                "{name}"
            );
        }
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
    let peak = peak_memory(&operator);
    assert!(peak < 150_000, "the operator took {peak} kB");
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_good_answer_with_a_deep_unknown_member_is_read() {
    let env = TestEnv::new("evildepth").await;
    let _operator = env.operator_for_many(&[]);
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    env.sim.world(|world| {
        for route in READS {
            world.patch(route, "/deep", Some(&deep));
        }
    });
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
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
        let env = TestEnv::new(name).await;
        env.sim.world(|world| world.odd = odd);
        let _operator = env.operator_for_many(&[]);
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", first).await;
        env.sim.world(|world| world.odd = Oddities::default());
        env.wait_for_reason("web", "Restored").await;
        assert_eq!((env.posts(), env.executed()), (1, 1), "{name}");
        env.check_invariants().await;
    }))
    .await;
}

#[tokio::test]
async fn the_key_stands_nowhere_but_in_its_header_to_the_configured_origin() {
    join_all(["json", "text"].map(|format| async move {
        let env = TestEnv::new(&format!("key{format}")).await;
        let foreign = Sim::start();
        let log = format!("--log-format={format}");
        let operator = env.operator_with(
            &[&log, "--workers=16", "--request-timeout=8s", "--paid-timeout=9s"],
            &[("RUST_LOG", "trace")],
        );
        let away = |path: &str| Answer::redirect(302, &format!("{}{path}", foreign.url()));
        let echo = |key: &str| Answer::problem(403, "forbidden").detail(&format!("the key {key} may not"));
        let good = env.customer("good").await;
        let lost = env.customer("lost").await;
        let moved = env.customer("moved").await;
        let silent = env.customer("silent").await;
        let reset = env.customer("reset").await;
        env.sim.inject(
            lost.fault(Route::RestoreToPayg)
                .acted(true)
                .answer(away("/api/jobs/x")),
        );
        env.sim
            .inject(moved.fault(Route::GetVps).times(3).answer(away("/api/v2/vps/x")));
        env.sim.inject(
            reset
                .fault(Route::RestoreToPayg)
                .acted(true)
                .answer(Answer::reset()),
        );
        let hours = Duration::from_secs(4);
        env.sim
            .inject(silent.fault(Route::ListVps).answer(Answer::silence_for(hours)));
        for customer in [&good, &lost, &moved, &silent, &reset] {
            env.create(customer.restore(&env)).await;
        }
        for customer in [&good, &lost, &moved, &silent, &reset] {
            env.wait_for_reason(&customer.name, "Restored").await;
        }
        // A key that is refused, and one that no header can carry.
        let revoked = env.customer("revoked").await;
        env.sim.world(|world| world.revoke_key(&revoked.key));
        env.create(revoked.restore(&env)).await;
        let broken = env.customer("broken").await;
        env.put_key("broken", &format!("{KEY}\u{1}å\nX-Other: 1")).await;
        env.create(broken.restore(&env)).await;
        env.wait_for_reason("revoked", "Unauthorized").await;
        env.wait("broken", "a refusal of the key", |object| {
            ready(object)["status"] == "False"
        })
        .await;
        // A provider that repeats the key in its own words is the provider's leak, yet not ours to store.
        let told = env.customer("told").await;
        env.sim.inject(told.fault(Route::GetVps).answer(echo(&told.key)));
        env.create(told.restore(&env)).await;
        env.wait_for_reason("told", "Restored").await;

        assert_eq!(env.sim.unfired(), Vec::<String>::new());
        assert_eq!(foreign.world(|world| world.connections().len()), 0);
        let mut places: Vec<(String, String)> = operator
            .log()
            .into_iter()
            .map(|line| ("the log".to_owned(), line))
            .collect();
        if format == "json" {
            places.push(("the metrics".to_owned(), operator.metrics()));
        }
        for object in everything(&env).await {
            places.push((object["kind"].to_string(), object.to_string()));
        }
        // Whatever follows the common part of all keys of the environment, and at any offset of base64.
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
        for request in env.sim.requests() {
            assert!(request.headers.contains_key("authorization"), "{}", request.path);
        }
        if format == "json" {
            logged_is_json(&operator);
        }
        env.check_invariants().await;
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
