//! Every answer does on the wire what its name says, and acted and answered are independent.

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Client, End, KEY, ORDER, SOON, get, restore, restore_path};
use hostup_sim::{Answer, Auth, Fault, Finish, RateLimitStyle, Route, SOURCE_VPS, Sim, Stage};
use serde_json::json;

const QUIET: Duration = Duration::from_millis(150);

fn sim() -> Sim {
    let sim = Sim::start();
    sim.world(|w| w.add_account(KEY));
    sim
}

/// One read of the source VPS under this answer.
fn read_under(answer: Answer) -> (common::Answer, Option<Finish>) {
    read_with_patience(answer, SOON)
}

fn read_with_patience(answer: Answer, patience: Duration) -> (common::Answer, Option<Finish>) {
    let sim = sim();
    sim.inject(Fault::on(Route::GetVps).answer(answer));
    let mut client = Client::new(&sim, KEY).patience(patience);
    let answer = client.call("GET", &format!("/api/v2/vps/{SOURCE_VPS}"), "");
    assert_eq!(sim.unfired(), Vec::<String>::new());
    assert!(sim.wait_answered(Route::GetVps, 1, SOON));
    (answer, sim.requests()[0].finish)
}

#[test]
fn acted_and_answered_are_independent() {
    for acted in [true, false] {
        for (answer, status) in [
            (Answer::normal(), 202),
            (Answer::problem(500, "internal_error"), 500),
            (Answer::problem(403, "forbidden"), 403),
            (Answer::html(502), 502),
            (Answer::reset(), 0),
            (Answer::close(), 0),
        ] {
            let sim = sim();
            sim.inject(Fault::on(Route::RestoreToPayg).acted(acted).answer(answer));
            let answer = restore(&sim, ORDER);
            assert_eq!(answer.status, status);
            assert_eq!(sim.purchases().len(), usize::from(acted));
            assert_eq!(sim.requests()[0].acted, acted);
            assert_eq!(sim.count_acted(Route::RestoreToPayg), usize::from(acted));
        }
    }
}

#[test]
fn a_202_without_an_act_names_a_job_that_nobody_knows() {
    let sim = sim();
    sim.inject(Fault::on(Route::RestoreToPayg).acted(false));
    let answer = restore(&sim, ORDER);
    let path = answer.at("/operation/pollUrl").as_str().unwrap().to_owned();
    assert_eq!((answer.status, get(&sim, &path).status), (202, 404));
    assert!(sim.purchases().is_empty());
}

#[test]
fn an_acted_fault_does_not_execute_what_the_provider_would_refuse() {
    let sim = sim();
    sim.inject(
        Fault::on(Route::RestoreToPayg)
            .always()
            .acted(true)
            .answer(Answer::reset()),
    );
    restore(&sim, r#"{"cpuCores":99}"#);
    Client::new(&sim, "wrong").call("POST", &restore_path(), ORDER);
    assert!(sim.purchases().is_empty());
    assert!(sim.requests().iter().all(|request| !request.acted));
}

#[test]
#[should_panic(expected = "spends money")]
fn a_fault_on_the_paid_route_must_say_whether_it_acts() {
    sim().inject(Fault::on(Route::RestoreToPayg).answer(Answer::reset()));
}

#[test]
fn faults_count_calls_and_tell_when_they_did_not_fire() {
    let sim = sim();
    let fault = |skip, times, status| {
        Fault::on(Route::ListVps)
            .skip(skip)
            .times(times)
            .answer(Answer::empty(status))
    };
    sim.inject(fault(1, 1, 501));
    sim.inject(fault(2, 2, 502));
    sim.inject(fault(9, 1, 599));
    let told: Vec<u16> = (0..5).map(|_| get(&sim, "/api/v2/vps").status).collect();
    assert_eq!(told, [200, 501, 502, 502, 200]);
    let unfired = sim.unfired();
    assert_eq!(unfired.len(), 1);
    assert!(unfired[0].contains("ListVps"), "{unfired:?}");
    assert!(unfired[0].contains("saw 5"), "{unfired:?}");
    sim.clear_faults();
    assert!(sim.unfired().is_empty());
    let gate = sim.hold(Route::Job, Stage::AfterAct);
    gate.release();
    assert_eq!(sim.unfired().len(), 1);
}

#[test]
fn a_fault_can_be_for_one_key_or_one_path_only() {
    let sim = sim();
    sim.world(|w| w.add_account("second"));
    sim.inject(
        Fault::on(Route::Any)
            .acted(false)
            .always()
            .key("second")
            .answer(Answer::empty(503)),
    );
    sim.inject(
        Fault::on(Route::GetVps)
            .always()
            .path_contains(SOURCE_VPS)
            .answer(Answer::empty(504)),
    );
    assert_eq!(get(&sim, "/api/v2/vps").status, 200);
    let second = Client::new(&sim, "second").call("GET", "/api/v2/vps", "");
    assert_eq!(second.status, 503);
    assert_eq!(get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}")).status, 504);
    assert_eq!(get(&sim, "/api/v2/vps/vps_other").status, 404);
}

#[test]
fn problems_carry_code_detail_extensions_and_any_other_member() {
    let (answer, _) = read_under(
        Answer::problem(409, "existing_invoice_blocking")
            .detail("An open invoice.")
            .extension("invoiceId", "\"inv_1\"")
            .set("/blockerReasons", r#"["has_unpaid_invoice"]"#),
    );
    assert_eq!(answer.status, 409);
    assert_eq!(answer.at("/status"), json!(409));
    assert_eq!(answer.at("/code"), json!("existing_invoice_blocking"));
    assert_eq!(answer.at("/detail"), json!("An open invoice."));
    assert_eq!(answer.at("/extensions/invoiceId"), json!("inv_1"));
    assert_eq!(answer.at("/blockerReasons/0"), json!("has_unpaid_invoice"));
    let (answer, _) = read_under(Answer::blocked(403, "forbidden", &["no_card_on_file"]));
    assert_eq!(answer.at("/blockerReasons"), json!(["no_card_on_file"]));
    let (answer, _) = read_under(Answer::legacy_error(400, "BAD_REQUEST", "Fel"));
    assert_eq!(answer.at("/code"), json!("BAD_REQUEST"));
    assert_eq!(answer.at("/message"), json!("Fel"));
    assert_eq!(answer.at("/error"), json!("Bad Request"));
}

#[test]
fn a_429_comes_in_three_styles_with_any_retry_after_or_none() {
    let (answer, _) = read_under(Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("7"));
    assert_eq!(
        (answer.status, answer.at("/code")),
        (429, json!("rate_limit_exceeded"))
    );
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    let (answer, _) = read_under(Answer::rate_limited(RateLimitStyle::Limited));
    assert_eq!(answer.at("/code"), json!("rate_limited"));
    assert_eq!(answer.header("retry-after"), None);
    let date = "Wed, 21 Oct 2026 07:28:00 GMT";
    let (answer, _) = read_under(Answer::rate_limited(RateLimitStyle::Legacy).retry_after(date));
    assert!(answer.json().get("code").is_none());
    assert_eq!(answer.at("/retryAfter"), json!(date));
    assert_eq!(answer.header("retry-after"), Some(date));
}

#[test]
fn bodies_can_be_html_empty_broken_huge_deep_or_wrongly_labelled() {
    let (answer, _) = read_under(Answer::html(502));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().starts_with("<html>"));
    let (answer, _) = read_under(Answer::empty(202));
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let (answer, _) = read_under(Answer::broken_json(202));
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    assert_eq!(answer.end, End::Complete);
    let (answer, _) = read_under(Answer::big(200, 5_000_000));
    assert!(answer.body.len() > 5_000_000);
    let (answer, _) = read_under(Answer::deep(200, 10_000));
    assert_eq!(answer.body.len(), 20_000);
    let (answer, _) = read_under(Answer::json(200, "{}").content_length(50));
    assert_eq!((answer.body.len(), answer.end), (2, End::Fin));
    let (answer, _) = read_under(Answer::json(200, "{} and more").content_length(2));
    assert_eq!(answer.header("content-length"), Some("2"));
    let (answer, _) = read_under(Answer::normal().gzip_claim());
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let (answer, _) = read_under(Answer::success_false(200));
    assert_eq!(answer.at("/success"), json!(false));
    let (answer, _) = read_under(Answer::bytes("ICY 200 OK\r\n\r\n"));
    assert_eq!(answer.end, End::Fin);
    let (answer, _) = read_under(Answer::raw(200, vec![0xff, 0xfe]).header("X-Odd", "1"));
    assert_eq!(answer.body, [0xff, 0xfe]);
    assert_eq!(answer.header("x-odd"), Some("1"));
}

#[test]
fn redirects_name_their_target() {
    for status in [301, 302, 307, 308] {
        let (answer, _) = read_under(Answer::redirect(status, "http://192.0.2.1/x"));
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("location"), Some("http://192.0.2.1/x"));
    }
}

#[test]
fn connections_can_be_closed_reset_cut_and_kept_silent() {
    let (answer, finish) = read_under(Answer::close());
    assert_eq!((answer.status, answer.end), (0, End::Fin));
    assert_eq!(finish, Some(Finish::Closed));
    let (answer, finish) = read_under(Answer::reset());
    assert_eq!((answer.status, answer.end), (0, End::Rst));
    assert_eq!(finish, Some(Finish::Reset));
    let (answer, finish) = read_under(Answer::normal().cut_body_after(10));
    assert_eq!(
        (answer.status, answer.body.len(), answer.end),
        (200, 10, End::Fin)
    );
    assert_eq!(finish, Some(Finish::Cut));
    let (answer, _) = read_under(Answer::normal().reset_body_after(10));
    assert_eq!(
        (answer.status, answer.body.len(), answer.end),
        (200, 10, End::Rst)
    );
    let (answer, finish) = read_with_patience(Answer::normal().head_then_silence(), QUIET);
    assert_eq!(
        (answer.status, answer.body.len(), answer.end),
        (200, 0, End::Quiet)
    );
    assert_eq!(finish, Some(Finish::Silent));
    let (answer, finish) = read_with_patience(Answer::silence(), QUIET);
    assert_eq!((answer.status, answer.end), (0, End::Quiet));
    assert_eq!(finish, Some(Finish::Silent));
    let (answer, _) = read_under(Answer::silence_for(QUIET / 5));
    assert_eq!((answer.status, answer.end), (0, End::Fin));
}

#[test]
fn answers_can_be_delayed_and_dripped() {
    let start = Instant::now();
    let (answer, _) = read_under(Answer::normal().delay(QUIET / 2));
    assert_eq!(answer.status, 200);
    assert!(start.elapsed() >= QUIET / 2);
    let start = Instant::now();
    let (answer, finish) = read_under(Answer::json(200, "12345").drip(Duration::from_millis(5)));
    assert_eq!(answer.text(), "12345");
    assert_eq!(finish, Some(Finish::Whole));
    assert!(start.elapsed() >= Duration::from_millis(25));
    let start = Instant::now();
    let (answer, _) = read_under(Answer::empty(200).drip_from_start(Duration::from_millis(1)));
    assert_eq!(answer.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn an_accepted_answer_can_lie_about_job_and_poll_url_while_the_job_is_real() {
    let long = format!("\"{}\"", "j".repeat(10_000));
    for (pointer, text) in [
        ("/operation/jobId", "123"),
        ("/operation/jobId", long.as_str()),
        ("/operation/jobId", r#""job_a\n../b""#),
        ("/operation/pollUrl", r#""""#),
        ("/operation/pollUrl", r#""http://192.0.2.1/steal""#),
        ("/operation/pollUrl", r#""//192.0.2.1/steal""#),
    ] {
        let sim = sim();
        sim.inject(
            Fault::on(Route::RestoreToPayg)
                .acted(true)
                .answer(Answer::normal().set(pointer, text)),
        );
        let answer = restore(&sim, ORDER);
        assert_eq!(answer.status, 202);
        let wanted: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(answer.at(pointer), wanted);
        assert_eq!(sim.purchases().len(), 1);
    }
    let sim = sim();
    sim.inject(
        Fault::on(Route::RestoreToPayg)
            .acted(true)
            .answer(Answer::normal().remove("/operation/jobId")),
    );
    assert!(restore(&sim, ORDER).json()["operation"].get("jobId").is_none());
}

#[test]
fn a_request_held_before_the_act_has_bought_nothing_yet_and_goes_on_though_its_client_died() {
    let sim = sim();
    let gate = sim.hold(Route::RestoreToPayg, Stage::BeforeAct);
    let mut client = Client::new(&sim, KEY);
    let json = [("Content-Type", "application/json")];
    client.send("POST", &restore_path(), &json, ORDER.as_bytes());
    assert!(gate.wait_held(SOON));
    assert_eq!(gate.holds(), Some(0));
    assert_eq!((sim.count(Route::RestoreToPayg), sim.purchases().len()), (1, 0));
    assert_eq!(sim.requests()[0].finish, None);
    drop(client);
    gate.release();
    assert!(sim.wait_purchases(1, SOON));
    assert!(sim.unfired().is_empty());
}

#[test]
fn a_request_held_after_the_act_has_bought_and_is_answered_on_release() {
    let sim = sim();
    let gate = sim.hold_nth(Route::RestoreToPayg, 1, Stage::AfterAct);
    assert_eq!(restore(&sim, ORDER).status, 202);
    let mut client = Client::new(&sim, KEY);
    let json = [("Content-Type", "application/json")];
    client.send("POST", &restore_path(), &json, ORDER.as_bytes());
    assert!(gate.wait_held(SOON));
    assert_eq!(sim.purchases().len(), 2);
    assert_eq!(sim.requests()[1].status, None);
    assert_eq!(get(&sim, "/api/v2/vps").status, 200);
    gate.release();
    assert_eq!(client.read().status, 202);
}

#[tokio::test(start_paused = true)]
async fn async_waits_work_even_where_tokio_s_time_stands_still() {
    let sim = sim();
    let gate = sim.hold(Route::ListVps, Stage::BeforeAct);
    let handle = sim.handle();
    let client = std::thread::spawn(move || get(&handle, "/api/v2/vps").status);
    assert!(gate.held(SOON).await);
    gate.release();
    assert!(sim.until(SOON, |w| w.count_answered(Route::ListVps) == 1).await);
    assert!(!sim.until(Duration::from_millis(30), |_| false).await);
    assert_eq!(client.join().unwrap(), 200);
}

#[test]
fn waits_end_at_their_deadline_and_wake_for_changes() {
    let sim = sim();
    assert!(!sim.wait_until(Duration::from_millis(30), |_| false));
    let handle = sim.handle();
    let waiter = std::thread::spawn(move || handle.wait_answered(Route::ListVps, 2, SOON));
    get(&sim, "/api/v2/vps");
    get(&sim, "/api/v2/vps");
    assert!(waiter.join().unwrap());
}

#[test]
fn the_log_tells_connections_apart_and_never_holds_the_key() {
    let sim = sim();
    let mut client = Client::new(&sim, KEY);
    client.call("GET", "/api/v2/vps?limit=5", "");
    client.call("GET", "/api/v2/vps", "");
    restore(&sim, ORDER);
    let log = sim.requests();
    assert_eq!(log[0].connection, log[1].connection);
    assert_ne!(log[1].connection, log[2].connection);
    let places: Vec<u32> = log.iter().map(|one| one.nth_on_connection).collect();
    assert_eq!(places, [1, 2, 1]);
    assert_eq!(log[0].query.as_deref(), Some("limit=5"));
    assert_eq!(log[2].body_text(), ORDER);
    assert_eq!(log[2].http_version, "HTTP/1.1");
    assert_eq!(log[2].header("content-type"), Some("application/json"));
    assert!(matches!(&log[0].auth, Auth::Key { key, .. } if key == "key1"));
    assert!(!format!("{log:?}").contains(KEY));
    assert!(log.iter().all(|one| !one.key_elsewhere));
}

#[test]
fn a_key_in_the_url_the_body_or_another_header_is_noticed() {
    let sim = sim();
    let json = [("Content-Type", "application/json")];
    let leaks = [
        ("/api/v2/vps?name=test-key-3f9a", Vec::new(), String::new()),
        ("/api/v2/vps", json.to_vec(), format!("{{\"k\":\"{KEY}\"}}")),
        ("/api/v2/vps", vec![("X-Trace", KEY)], String::new()),
    ];
    for (target, headers, body) in leaks {
        let mut client = Client::new(&sim, KEY);
        client.send("GET", target, &headers, body.as_bytes());
        client.read();
        assert!(sim.requests().pop().unwrap().key_elsewhere, "{target}");
    }
}

#[test]
fn a_connection_without_a_request_shows_and_counts_its_bytes() {
    let sim = sim();
    let silent = TcpStream::connect(sim.address()).unwrap();
    assert!(sim.wait_until(SOON, |w| w.connections().len() == 1));
    drop(silent);
    assert!(sim.wait_until(SOON, |w| w.connections()[0].closed));
    let connection = sim.world(|w| w.connections()[0].clone());
    assert_eq!((connection.bytes_in, connection.requests), (0, 0));
    let mut half = Client::new(&sim, KEY);
    std::io::Write::write_all(&mut half.stream, b"POST /api").unwrap();
    assert!(sim.wait_until(SOON, |w| {
        w.connections().get(1).is_some_and(|own| own.bytes_in == 9)
    }));
    assert_eq!(sim.requests().len(), 0);
}

#[test]
fn chunked_bodies_and_expect_100_are_understood() {
    let sim = sim();
    let mut client = Client::new(&sim, KEY);
    let headers = [
        ("Content-Type", "application/json"),
        ("Transfer-Encoding", "chunked"),
    ];
    client.send("POST", &restore_path(), &headers, b"");
    let chunks = format!(
        "5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &ORDER[..5],
        ORDER.len() - 5,
        &ORDER[5..]
    );
    std::io::Write::write_all(&mut client.stream, chunks.as_bytes()).unwrap();
    assert_eq!(client.read().status, 202);
    assert_eq!(sim.purchases()[0].body, ORDER.as_bytes());
}

#[test]
fn bytes_that_are_no_http_1_are_logged_as_such() {
    let sim = sim();
    let mut client = Client::new(&sim, KEY);
    std::io::Write::write_all(&mut client.stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!(client.read().status, 400);
    let log = sim.requests();
    assert_eq!(
        (log[0].http_version.as_str(), log[0].route),
        ("HTTP/2.0", Route::Unknown)
    );
}

#[test]
fn it_can_go_down_and_come_up_on_the_same_port_with_its_world() {
    let sim = sim();
    restore(&sim, ORDER);
    let mut open = Client::new(&sim, KEY);
    open.call("GET", "/api/v2/vps", "");
    sim.go_down();
    let refused = TcpStream::connect(sim.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(matches!(open.read().end, End::Fin | End::Rst));
    sim.come_up();
    assert_eq!(get(&sim, "/api/v2/vps").status, 200);
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn the_admin_api_is_off_unless_asked_for() {
    let sim = sim();
    assert_eq!(get(&sim, "/_sim/purchases").status, 404);
    assert_eq!(sim.count(Route::Unknown), 1);
}
