//! Safety sentence 6, on the bytes that reach the provider, over thousands of wishes: the shipped decision
//! and the shipped client, without a cluster between them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use hostup_operator::api::shared::CredentialsSecretRef;
use hostup_operator::api::{self, RecordDraft};
use hostup_operator::clock::Clock;
use hostup_operator::domain::consent::approval::Approval;
use hostup_operator::domain::consent::price::BillingCycle;
use hostup_operator::domain::ledger::chain::{Brakes, LedgerView};
use hostup_operator::domain::ledger::order::Order;
use hostup_operator::domain::ledger::record::{Claim, KeyInUse, Times};
use hostup_operator::domain::options::{
    Decision, DesiredOptions, Goods, Intent, OptionsWish, ProviderReading, Reading, Rival, Seen, StatusFacts,
    View, decide,
};
use hostup_operator::domain::provider::options::{OptionValue, Values};
use hostup_operator::domain::purchase::{
    self, Created, Effect, Event, Plan, Purchase, Reread, RightToSend, Standing,
};
use hostup_operator::domain::values::ids::{Holder, InstanceId, KeyMark, Subject, SubjectKind, Uid, VpsId};
use hostup_operator::hostup::{self, HostUp, Http, Signal, Traffic, Way};
use hostup_sim::{ConfigOption, Route, Sim, Vps};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use secrecy::SecretString;
use serde_json::{Value, json};

const WISHES: usize = 2_000;
/// Wishes of one key, so few that its pace holds nothing up.
const OF_ONE_PROVIDER: usize = 8;

const TIMES: Times = Times {
    settle_time: Duration::from_secs(900),
    poll_interval: Duration::from_secs(2),
    request_timeout: Duration::from_secs(30),
    paid_timeout: Duration::from_secs(120),
    job_deadline: Duration::from_secs(21_600),
    resync_interval: Duration::from_secs(3600),
    gate_interval: Duration::from_secs(60),
};

fn any_wish() -> impl Strategy<Value = Values> {
    let number = |n: i64| OptionValue::read(&json!(n)).unwrap();
    let one = prop_oneof![
        (0i64..=10).prop_map(move |n| ("bandwidthGb", number(n * 1024))),
        (0i64..=10).prop_map(move |n| ("backupSlots", number(n))),
        (0i64..=10).prop_map(move |n| ("snapshotSlots", number(n))),
        (1i64..=8).prop_map(move |n| ("ipv4Count", number(n))),
        (0i64..=100).prop_map(move |n| ("additionalStorageGb", number(n * 10))),
        any::<bool>().prop_map(|flag| ("ipv6", OptionValue::Flag(flag))),
        prop_oneof![Just("none"), Just("small")]
            .prop_map(|word| ("gpuProfile", OptionValue::read(&json!(word)).unwrap())),
        "[ -~]{0,40}".prop_map(|text| ("note", OptionValue::read(&json!(text)).unwrap())),
        "[a-zåäö\"\\\\\u{1F600}]{1,12}".prop_map(|text| ("note", OptionValue::read(&json!(text)).unwrap())),
    ];
    proptest::collection::vec(one, 1..8).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    })
}

fn intent(n: usize, wanted: Values, approval: Option<Approval>) -> Intent {
    Intent {
        subject: Subject {
            kind: SubjectKind::VpsResourceConfig,
            namespace: "shop".into(),
            name: format!("web-{n}"),
            uid: Uid::new(format!("uid-{n}")),
            generation: 1,
        },
        wish: DesiredOptions::Options(OptionsWish {
            vps: vps(n),
            goods: Goods::Options,
            wanted,
            cancels_invoice: n.is_multiple_of(2),
            corrects_drift: n.is_multiple_of(3),
            backup_first: false,
        }),
        digest: format!("wish-{n}"),
        approval,
        suspended: false,
        deleted: false,
    }
}

fn vps(n: usize) -> VpsId {
    VpsId::new(format!("vps_{n}"))
}

/// Reads and decides until there is an order or a report, as the controller does.
async fn looked(
    account: &hostup::Account,
    n: usize,
    wanted: &Values,
    approval: Option<Approval>,
) -> Decision {
    let intent = intent(n, wanted.clone(), approval);
    let mut view = View {
        chain: LedgerView {
            instance: InstanceId::new("cluster-1"),
            tail: None,
            unreadable: None,
            missing: None,
            gap: None,
            came_to_nothing: Vec::new(),
            closed_after: None,
            shown_record: None,
            following: None,
            shown_quote: None,
            stalled_since: None,
            brakes: Brakes::default(),
        },
        history: vec![],
        busy: None,
        changed: None,
        rival: Rival::None,
        seen: Seen::Never,
        committed_dry_run: false,
        legacy_enabled: false,
        reading: ProviderReading::Unread,
    };
    loop {
        match (
            decide(&intent, &view, &TIMES, Timestamp::now()),
            &mut view.reading,
        ) {
            (Decision::ReadOptions, reading) => {
                *reading = ProviderReading::Read(Box::new(Reading {
                    read_at: Timestamp::now(),
                    key: KeyInUse {
                        secret_version: "1".into(),
                        mark: KeyMark::new("key"),
                    },
                    is_payg: false,
                    cycle: BillingCycle::Months(1),
                    offers_read: Clock::of_the_machine().now(),
                    offers: account.options(&vps(n)).await.unwrap(),
                    resize: None,
                    own_backups: None,
                    invoices: None,
                    preview: None,
                }));
            }
            (Decision::Preview(body), ProviderReading::Read(reading)) => {
                reading.preview = Some(account.preview_config(&vps(n), body).await.unwrap());
            }
            (decision, _) => return decision,
        }
    }
}

/// The pace is not what this is about.
struct Unpaced;

impl Traffic for Unpaced {
    fn may_leave(&self) -> BoxFuture<'_, Result<(), hostup::ReadError>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn signal(&self, _signal: Signal) {}
}

/// What the machine of a purchase yields once everything before the POST went well.
fn right_to_send(order: &Order) -> RightToSend {
    let claim = Claim {
        holder: Holder::new("ours"),
        instance: InstanceId::new("one"),
        made_at: Clock::of_the_machine().now().wall,
        send_before: Timestamp::MAX,
    };
    let draft = RecordDraft {
        order,
        credentials: &CredentialsSecretRef::default(),
        claim: &claim,
    };
    let record = api::record(&draft.object()).unwrap();
    let now = Clock::of_the_machine().now();
    let plan = Plan {
        order: order.clone(),
        claim,
        read: now,
        found: None,
    };
    let object = purchase::Reading::Found(Standing {
        is_held: false,
        is_same: true,
        is_unchanged: true,
        is_being_deleted: false,
        is_suspended: false,
        is_told_alike: true,
        is_alone: true,
    });
    let reread = purchase::Reading::Found(Reread {
        is_sending: true,
        is_as_drafted: true,
    });
    let mut purchase = Purchase::new(plan, TIMES, now);
    for event in [
        Event::Begun,
        Event::Reserved(true),
        Event::Created(Created::Made(Some(Box::new(record)))),
        Event::LookedAtObject(object),
        Event::LookedAtRecord(reread),
    ] {
        purchase.next(event, now);
    }
    match purchase.next(Event::HandedOver, now) {
        Effect::Post(right) => right,
        other => panic!("nothing is sent: {other:?}"),
    }
}

/// Approves what is shown, and sends the order that follows. `None` where nothing differs.
async fn ordered(hostup: &HostUp, key: &SecretString, n: usize, wanted: Values) -> Option<Order> {
    let account = hostup.account(key.clone(), Arc::new(Unpaced));
    let Decision::Report(report) = looked(&account, n, &wanted, None).await else {
        panic!("bought without an approval: {wanted:?}");
    };
    let StatusFacts::Shown(shown) = report.facts else {
        panic!("{}", report.message);
    };
    let quote = shown.quote?;
    let Decision::Buy(order) = looked(&account, n, &wanted, Some(Approval::from(quote.id))).await else {
        panic!("approved and not bought: {wanted:?}");
    };
    account.paid_post(right_to_send(&order)).await;
    Some(*order)
}

/// So many wishes against a provider of their own; how many of them were orders.
async fn told(wishes: Vec<Values>) -> usize {
    let sim = Sim::start();
    let url = sim.url().parse().unwrap();
    let timeout = Duration::from_secs(30);
    let http = Http::new(Way::default(), timeout).unwrap();
    let clock = Clock::of_the_machine();
    let hostup = HostUp::new(url, Arc::new(http), clock, timeout, Arc::new(|_, _, _| {}));
    let key = "key-of-the-wishes";
    sim.world(|world| {
        let account = world.add_empty_account(key);
        for n in 0..wishes.len() {
            let mut options = hostup_sim::standard_options();
            options.push(ConfigOption::input("note", "as it was"));
            world.add_vps(
                account,
                Vps::fixed(vps(n).as_str(), "app", 2, 4, 80).with_options(options),
            );
        }
    });
    let key = SecretString::from(key);
    let mut orders = 0;
    for (n, wanted) in wishes.into_iter().enumerate() {
        orders += usize::from(ordered(&hostup, &key, n, wanted).await.is_some());
    }
    let body = |request: &hostup_sim::RequestRecord| serde_json::from_slice::<Value>(&request.body).unwrap();
    let previews = sim.requests_on(Route::ConfigPreview);
    let commits = sim.requests_on(Route::ConfigCommit);
    assert_eq!(
        (previews.len(), commits.len(), sim.purchases().len()),
        (2 * orders, orders, orders)
    );
    for commit in &commits {
        assert!(
            commit.body_text().contains(r#""dryRun":false"#),
            "{}",
            commit.body_text()
        );
        let mut sent = body(commit);
        sent["dryRun"] = json!(true);
        let asked: Vec<Value> = previews
            .iter()
            .filter(|preview| preview.path == commit.path)
            .map(body)
            .collect();
        assert_eq!(asked, [sent.clone(), sent]);
    }
    orders
}

#[tokio::test]
async fn whatever_is_wished_the_provider_is_told_literally_whether_it_is_a_dry_run() {
    // An error means that another test has installed it.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut runner = TestRunner::default();
    let mut any = || any_wish().new_tree(&mut runner).unwrap().current();
    let providers: Vec<Vec<Values>> = (0..WISHES / OF_ONE_PROVIDER)
        .map(|_| (0..OF_ONE_PROVIDER).map(|_| any()).collect())
        .collect();
    let told = futures::stream::iter(providers.into_iter().map(told)).buffer_unordered(8);
    let orders: usize = told.collect::<Vec<_>>().await.into_iter().sum();
    assert!(
        orders > WISHES / 2,
        "only {orders} of the wishes differed from what was there"
    );
}
