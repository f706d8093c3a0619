//! The reads answer what the provider's pages say.

mod common;

use common::{Client, KEY, get};
use hostup_sim::{ActionGate, Convert, Pricing, RateLimit, Route, SOURCE_VPS, Sim, SizeGbAs, Vps, dec};
use serde_json::{Value, json};
use std::time::Duration;

fn sim() -> Sim {
    let sim = Sim::start();
    sim.world(|w| w.add_account(KEY));
    sim
}

fn vps(rest: &str) -> String {
    format!("/api/v2/vps/{SOURCE_VPS}{rest}")
}

#[test]
fn the_vps_page_s_fields_are_all_there() {
    let sim = sim();
    let answer = get(&sim, &vps(""));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "id": SOURCE_VPS, "name": "app-01", "primaryIp": "192.0.2.10",
            "serviceStatus": "active", "powerState": "running",
            "operatingSystem": {"displayName": "Debian 12", "family": "linux", "version": "12", "variant": null},
            "billing": {"amount": 199, "currencyCode": "SEK", "billingCycle": "monthly", "isPayg": false, "periodYears": null},
            "resources": {"cpuCores": 2, "memoryGb": 4, "storageGb": 80}
        })
    );
}

#[test]
fn the_list_has_the_same_rows_and_a_cursor_envelope() {
    let sim = sim();
    let answer = get(&sim, "/api/v2/vps?limit=100");
    assert_eq!(answer.at("/data/0"), get(&sim, &vps("")).json());
    assert_eq!(answer.at("/hasMore"), json!(false));
    assert_eq!(answer.at("/nextCursor"), Value::Null);
}

#[test]
fn status_details_backups_and_version_have_their_documented_fields() {
    let sim = sim();
    let status = get(&sim, &vps("/status"));
    for field in [
        "/id",
        "/powerState",
        "/uptimeSeconds",
        "/cpuUsagePercent",
        "/cpuCores",
        "/memory/usedGb",
        "/memory/totalGb",
        "/memory/usagePercent",
        "/storage/usedGb",
        "/network/inboundGb",
        "/network/outboundGb",
        "/network/totalGb",
        "/pendingTasks",
    ] {
        status.at(field);
    }
    let details = get(&sim, &vps("/details"));
    for field in [
        "/id",
        "/productName",
        "/hostname",
        "/serviceStatus",
        "/createdAt",
        "/nextDueAt",
        "/billing/amount",
        "/billing/currencyCode",
        "/billing/billingCycle",
        "/billing/isPayg",
        "/cpuCores",
        "/memoryGb",
        "/storageGb",
        "/backupsIncluded",
        "/bandwidth/usedGb",
        "/bandwidth/limitGb",
        "/bandwidth/inboundGb",
        "/bandwidth/outboundGb",
        "/bandwidth/usagePercent",
    ] {
        details.at(field);
    }
    let backups = get(&sim, &vps("/backups"));
    assert_eq!(
        backups.at("/backups/0"),
        json!({
            "id": "bkp_01hxa3b4c5d6e7f8g9h0j1k2m3",
            "displayId": "2026-04-27T10:00:00.000Z (vzdump-qemu-101.vma.zst)",
            "storageKey": "vzdump-qemu-101.vma.zst",
            "createdAt": "2026-04-27T10:00:00.000Z", "sizeGb": 12.4,
            "backupType": "manual", "note": "Before upgrade"
        })
    );
    assert_eq!(
        backups.at("/quotaInfo"),
        json!({"used": 1, "limit": 3, "remaining": 2})
    );
    let gate = json!({"allowed": true, "reason": null, "code": "pending_order"});
    assert_eq!(backups.at("/actions/canRestore"), gate);
    assert_eq!(backups.at("/actions/canCreateBackup"), gate);
    let version = get(&sim, "/api/version");
    for field in ["/version", "/buildTime", "/generatedAt"] {
        version.at(field);
    }
}

#[test]
fn convert_to_cloud_has_every_required_field_and_follows_the_blockers() {
    let sim = sim();
    let path = vps("/actions/convert-to-cloud");
    let open = get(&sim, &path);
    assert_eq!(
        open.json(),
        json!({
            "vpsId": SOURCE_VPS, "available": true, "reason": null, "currentBillingModel": "fixed",
            "requiresVerification": false,
            "actions": {"canConvertToCloud": {"allowed": true, "reason": null}},
            "blockerReasons": [], "currentProductName": "VPS XS", "prepaidWarning": null
        })
    );
    sim.world(|w| {
        let blocked = Convert::blocked(
            "Account verification is required before converting to Cloud VM.",
            &["not_verified", "no_cloud_access"],
        );
        w.vps_mut(SOURCE_VPS).unwrap().convert = Some(blocked.with_prepaid_warning());
    });
    assert_eq!(
        get(&sim, &path).json(),
        json!({
            "vpsId": SOURCE_VPS, "available": false,
            "reason": "Account verification is required before converting to Cloud VM.",
            "currentBillingModel": "fixed", "requiresVerification": true,
            "actions": {"canConvertToCloud": {"allowed": false,
                "reason": "Account verification is required before converting to Cloud VM."}},
            "blockerReasons": ["not_verified", "no_cloud_access"], "currentProductName": "VPS XS",
            "prepaidWarning": {"nextDueAt": "2026-05-27", "billingCycle": "monthly", "daysRemaining": 18}
        })
    );
}

#[test]
fn deployments_and_limits_show_rates_gates_regions_and_what_remains() {
    let sim = sim();
    let deployments = get(&sim, "/api/v2/vps/payg/deployments");
    assert_eq!(
        deployments.at("/pricing"),
        json!({"currencyCode": "SEK", "cpuPerCoreHour": 0.12, "memoryPerGbHour": 0.04,
            "storagePerGbHour": 0.003, "bandwidthPerGb": 0.1, "ipPerHour": 0.02})
    );
    assert_eq!(deployments.at("/available"), json!(true));
    assert_eq!(deployments.at("/actions/canDeploy/allowed"), json!(true));
    assert_eq!(deployments.at("/defaults/regionId"), json!("stockholm"));
    assert_eq!(deployments.at("/regions/0/id"), json!("stockholm"));
    assert_eq!(deployments.at("/access/blockerReasons"), json!([]));
    let limits = get(&sim, "/api/v2/vps/payg/limits");
    assert_eq!(
        limits.at("/max"),
        json!({"cpuCores": 16, "memoryGb": 64, "storageGb": 1000, "instanceCount": 10})
    );
    assert_eq!(limits.at("/current/instanceCount"), json!(0));
    assert_eq!(limits.at("/billing/ipPerHour"), json!(0.02));
    assert_eq!(limits.at("/hasPendingRequests"), json!(false));
    assert_eq!(limits.at("/pendingRequests"), json!([]));
}

#[test]
fn money_leaves_with_its_exact_text() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account(KEY);
        w.account_mut(account).pricing = Pricing {
            cpu_per_core_hour: Some(dec("0.1200")),
            memory_per_gb_hour: Some(dec("12345678901234567.123456789")),
            ip_per_hour: None,
            ..Pricing::default()
        };
    });
    let text = get(&sim, "/api/v2/vps/payg/deployments").text();
    assert!(text.contains(r#""cpuPerCoreHour":0.1200,"#), "{text}");
    assert!(
        text.contains(r#""memoryPerGbHour":12345678901234567.123456789,"#),
        "{text}"
    );
    assert!(!text.contains("ipPerHour"), "{text}");
}

#[test]
fn a_blocker_closes_deployments_and_conversion() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account(KEY);
        w.account_mut(account).blockers = vec!["not_verified".to_owned()];
    });
    let deployments = get(&sim, "/api/v2/vps/payg/deployments");
    assert_eq!(deployments.at("/actions/canDeploy/allowed"), json!(false));
    assert_eq!(deployments.at("/access/blockerReasons"), json!(["not_verified"]));
    let convert = get(&sim, &vps("/actions/convert-to-cloud"));
    assert_eq!(convert.at("/available"), json!(false));
    assert_eq!(convert.at("/requiresVerification"), json!(true));
}

#[test]
fn pages_follow_the_cursor_and_can_be_capped_whatever_the_limit_says() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account(KEY);
        w.add_fillers(account, 6);
        w.page_cap = Some(3);
    });
    let mut seen = Vec::new();
    let mut target = "/api/v2/vps?limit=100".to_owned();
    let mut pages = 0;
    loop {
        let page = get(&sim, &target);
        pages += 1;
        for row in page.at("/data").as_array().unwrap() {
            seen.push(row["name"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page.at("/nextCursor").as_str().map(str::to_owned) else {
            assert_eq!(page.at("/hasMore"), json!(false));
            break;
        };
        target = format!("/api/v2/vps?limit=100&cursor={cursor}");
    }
    assert_eq!(pages, 3);
    assert_eq!(seen.len(), 7);
    seen.dedup();
    assert_eq!(seen.len(), 7);
    for bad in ["limit=0", "limit=101", "limit=x", "cursor=nonsense"] {
        let refused = get(&sim, &format!("/api/v2/vps?{bad}"));
        assert_eq!(refused.status, 400, "{bad}");
        assert_eq!(refused.at("/code"), json!("invalid_request"));
    }
}

#[test]
fn the_name_filter_is_exact_and_ignores_case() {
    let sim = sim();
    for (name, rows) in [("APP-01", 1), ("app%2D01", 1), ("app", 0), ("app-01x", 0)] {
        let list = get(&sim, &format!("/api/v2/vps?name={name}"));
        assert_eq!(list.at("/data").as_array().unwrap().len(), rows, "{name}");
    }
}

#[test]
fn a_key_that_is_missing_unknown_revoked_or_rotated_away_gets_the_documented_401() {
    let sim = sim();
    let refused = Client::new(&sim, "other").call("GET", &vps(""), "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.at("/code"), json!("unauthorized"));
    assert_eq!(refused.at("/title"), json!("Unauthorized"));
    assert_eq!(refused.at("/status"), json!(401));
    assert_eq!(refused.at("/detail"), json!("Authentication is required."));
    assert_eq!(refused.at("/instance"), json!(vps("")));
    assert_eq!(
        refused.at("/type"),
        json!("https://developer.hostup.se/errors/unauthorized")
    );
    assert!(refused.at("/requestId").as_str().unwrap().starts_with("req_"));
    assert!(refused.at("/timestamp").as_str().unwrap().ends_with('Z'));

    sim.world(|w| w.rotate_key(KEY, "new-key-77"));
    assert_eq!(get(&sim, &vps("")).status, 401);
    assert_eq!(
        Client::new(&sim, "new-key-77").call("GET", &vps(""), "").status,
        200
    );
    sim.world(|w| w.revoke_key("new-key-77"));
    assert_eq!(
        Client::new(&sim, "new-key-77").call("GET", &vps(""), "").status,
        401
    );
}

#[test]
fn a_read_needs_read_vm_and_legacy_routes_refuse_in_the_legacy_shape() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account("full");
        w.add_key_with_scopes(account, KEY, &["backup:vm"]);
    });
    let refused = get(&sim, &vps("/backups"));
    assert_eq!(refused.status, 403);
    assert_eq!(refused.at("/code"), json!("forbidden"));
    let job = get(&sim, "/api/jobs/job_nothing");
    assert_eq!(job.status, 404);
    assert_eq!(job.at("/code"), json!("NOT_FOUND"));
    assert_eq!(job.at("/error"), json!("Not Found"));
    let stranger = Client::new(&sim, "stranger").call("GET", "/api/jobs/job_x", "");
    assert_eq!(stranger.at("/code"), json!("UNAUTHORIZED"));
}

#[test]
fn another_account_s_objects_are_not_found_and_unknown_paths_are_recorded() {
    let sim = sim();
    sim.world(|w| w.add_account("second"));
    let mut second = Client::new(&sim, "second");
    let refused = second.call("GET", &vps(""), "");
    assert_eq!((refused.status, refused.at("/code")), (404, json!("not_found")));
    let own = second.call("GET", "/api/v2/vps", "");
    assert_ne!(own.at("/data/0/id"), json!(SOURCE_VPS));

    let lost = second.call("POST", &vps("/actions/restore"), "{}");
    assert_eq!((lost.status, lost.at("/code")), (404, json!("not_found")));
    assert_eq!(sim.count(Route::Unknown), 1);
    sim.world(|w| w.specific_not_found = true);
    assert_eq!(
        second.call("GET", &vps(""), "").at("/code"),
        json!("vps_not_found")
    );
}

#[test]
fn a_real_rate_limit_answers_429_with_all_four_headers_and_lets_in_again() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account(KEY);
        w.account_mut(account).rate_limit = Some(RateLimit {
            requests: 2,
            window: Duration::from_secs(3600),
        });
    });
    let first = get(&sim, &vps(""));
    assert_eq!(first.header("x-ratelimit-limit"), Some("2"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("1"));
    assert_eq!(get(&sim, &vps("")).status, 200);
    let refused = get(&sim, &vps(""));
    assert_eq!(refused.status, 429);
    assert_eq!(refused.at("/code"), json!("rate_limit_exceeded"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&wait));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert!(refused.header("x-ratelimit-reset").unwrap().ends_with('Z'));
    assert!(sim.requests()[2].throttled);
    let legacy = get(&sim, "/api/jobs/job_x");
    assert_eq!(legacy.status, 429);
    assert!(legacy.json().get("code").is_none());
    legacy.at("/retryAfter");
    sim.world(|w| w.advance(Duration::from_secs(3600)));
    assert_eq!(get(&sim, &vps("")).status, 200);
}

#[test]
fn nulls_extra_fields_unknown_words_and_sizes_can_be_switched_per_route() {
    let sim = sim();
    sim.world(|w| w.odd.nulls = vec![Route::GetVps]);
    let bare = get(&sim, &vps(""));
    for field in [
        "/primaryIp",
        "/powerState",
        "/operatingSystem",
        "/billing/billingCycle",
        "/billing/periodYears",
    ] {
        assert_eq!(bare.at(field), Value::Null, "{field}");
    }
    assert_eq!(bare.at("/name"), json!("app-01"));
    assert_eq!(get(&sim, &vps("/details")).at("/hostname"), json!("app-01"));

    sim.world(|w| {
        w.odd.nulls.clear();
        w.odd.extra_fields = vec![Route::Any];
        w.odd.unknown_words = vec![Route::Any];
        w.odd.size_gb = SizeGbAs::Integer;
    });
    let odd = get(&sim, &vps(""));
    odd.at("/xFutureField/deep");
    odd.at("/billing/xFutureField");
    assert_eq!(odd.at("/serviceStatus"), json!("levitating"));
    assert_eq!(odd.at("/billing/billingCycle"), json!("levitating"));
    assert_eq!(odd.at("/powerState"), json!("running"));
    let backups = get(&sim, &vps("/backups"));
    assert_eq!(backups.at("/backups/0/sizeGb"), json!(13));
    sim.world(|w| w.odd.size_gb = SizeGbAs::Fraction);
    let backups = get(&sim, &vps("/backups")).text();
    assert!(backups.contains(r#""sizeGb":12.525"#), "{backups}");
}

#[test]
fn any_field_of_any_route_can_be_patched() {
    let sim = sim();
    sim.world(|w| {
        w.patch(
            Route::PaygDeployments,
            "/pricing/cpuPerCoreHour",
            Some("\"0.12\""),
        );
        w.patch(Route::PaygDeployments, "/regions", None);
        w.patch(Route::ListVps, "/data/*/billing/isPayg", Some("null"));
        w.patch(Route::ListVps, "/new/deep", Some("[1]"));
    });
    let deployments = get(&sim, "/api/v2/vps/payg/deployments");
    assert_eq!(deployments.at("/pricing/cpuPerCoreHour"), json!("0.12"));
    assert!(deployments.json().get("regions").is_none());
    let list = get(&sim, "/api/v2/vps");
    assert_eq!(list.at("/data/0/billing/isPayg"), Value::Null);
    assert_eq!(list.at("/new/deep/0"), json!(1));
}

#[test]
fn gates_and_vanishing_backups_are_settings_of_a_vps() {
    let sim = sim();
    sim.world(|w| {
        let vps = w.vps_mut(SOURCE_VPS).unwrap();
        vps.can_restore = ActionGate::closed("A job is running.", Some("vps_not_ready"));
        vps.backups_vanish_after_lists = Some(2);
    });
    let path = vps("/backups");
    let first = get(&sim, &path);
    assert_eq!(
        first.at("/actions/canRestore"),
        json!({"allowed": false, "reason": "A job is running.", "code": "vps_not_ready"})
    );
    assert_eq!(get(&sim, &path).at("/backups").as_array().unwrap().len(), 1);
    assert_eq!(get(&sim, &path).at("/backups").as_array().unwrap().len(), 0);
}

#[test]
fn fractional_sizes_and_payg_vms_are_shown_as_set() {
    let sim = Sim::start();
    sim.world(|w| {
        let account = w.add_account(KEY);
        let mut vps = Vps::payg("vps_half", "half", 1, 1, 50);
        vps.resources.memory_gb = dec("0.5");
        w.add_vps(account, vps);
    });
    let answer = get(&sim, "/api/v2/vps/vps_half");
    assert_eq!(answer.at("/resources/memoryGb"), json!(0.5));
    assert_eq!(answer.at("/billing/isPayg"), json!(true));
    let convert = get(&sim, "/api/v2/vps/vps_half/actions/convert-to-cloud");
    assert_eq!(convert.at("/currentBillingModel"), json!("payg"));
    assert_eq!(convert.at("/available"), json!(false));
    let limits = get(&sim, "/api/v2/vps/payg/limits");
    assert_eq!(limits.at("/current/instanceCount"), json!(1));
    assert_eq!(limits.at("/remaining/instanceCount"), json!(9));
}
