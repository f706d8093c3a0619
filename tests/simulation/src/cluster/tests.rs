use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::events::v1::Event as K8sEvent;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher as watched;
use kube::runtime::watcher::{self, Event};
use kube::{Client, CustomResource, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::*;

#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, JsonSchema, PartialEq)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsOperation",
    status = "Standing"
)]
struct OperationSpec {
    size: u32,
}

#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, JsonSchema, PartialEq)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsBackupRestore",
    namespaced,
    status = "Standing"
)]
struct RestoreSpec {
    size: u32,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, JsonSchema, PartialEq)]
struct Standing {
    state: String,
}

const ME: ClientId = ClientId(1);
const OTHER: ClientId = ClientId(2);
const PERSON: ClientId = ClientId(100);

fn server() -> ApiServer {
    let began = Instant::now();
    let start: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    ApiServer::new(move || start + began.elapsed())
}

fn operations(client: &Client) -> Api<VpsOperation> {
    Api::all(client.clone())
}

fn operation(name: &str, size: u32) -> VpsOperation {
    VpsOperation::new(name, OperationSpec { size })
}

fn raw(name: &str, size: u32) -> Value {
    serde_json::to_value(operation(name, size)).unwrap()
}

fn add(server: &ApiServer, name: &str) {
    server.create(PERSON, Kind::OPERATION, "", raw(name, 1)).unwrap();
}

fn resize(server: &ApiServer, name: &str, size: u32) {
    let patch = json!({"spec": {"size": size}});
    server
        .patch(PERSON, Kind::OPERATION, Part::Whole, ("", name), &patch)
        .unwrap();
}

fn by_default() -> PostParams {
    PostParams::default()
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn refusal(error: kube::Error) -> kube::core::Status {
    match error {
        kube::Error::Api(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// One verdict for the writes, whatever they are.
fn on_writes(verdict: Verdict) -> impl FnMut(ClientId, &RequestInfo) -> Verdict + Send {
    move |_, request| match request.verb {
        Verb::Get | Verb::List | Verb::Watch => Verdict::default(),
        _ => verdict.clone(),
    }
}

struct OnWatches(WatchVerdict);

impl Faults for OnWatches {
    fn verdict(&mut self, _: ClientId, _: &RequestInfo) -> Verdict {
        Verdict::default()
    }

    fn watch_verdict(&mut self, _: ClientId, _: &RequestInfo) -> WatchVerdict {
        self.0.clone()
    }
}

/// An event in short.
fn word<K: Resource>(event: &Event<K>) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(object) => format!("listed {}", object.name_any()),
        Event::InitDone => "done".to_owned(),
        Event::Apply(object) => format!("applied {}", object.name_any()),
        Event::Delete(object) => format!("deleted {}", object.name_any()),
    }
}

/// What a watcher brings until it has nothing more for now.
async fn words<K: Resource>(
    events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(Some(next)) = timeout(Duration::from_millis(1), events.next()).await {
        words.push(match next {
            Ok(event) => word(&event),
            Err(error) => format!("error: {error}"),
        });
    }
    words
}

/// What a watch brings until it has nothing more for now, and whether it has ended.
async fn lines<K: ResourceExt>(
    changes: &mut (impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin),
    wait: Duration,
) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    loop {
        let word = match timeout(wait, changes.next()).await {
            Err(_) => return (words, false),
            Ok(None) => return (words, true),
            Ok(Some(Err(error))) => format!("error: {error}"),
            Ok(Some(Ok(WatchEvent::Added(object)))) => format!("added {}", object.name_any()),
            Ok(Some(Ok(WatchEvent::Modified(object)))) => format!("modified {}", object.name_any()),
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => format!("deleted {}", object.name_any()),
            Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                let end = mark
                    .metadata
                    .annotations
                    .contains_key("k8s.io/initial-events-end");
                format!(
                    "{} {}",
                    if end { "end" } else { "mark" },
                    mark.metadata.resource_version
                )
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => format!("{} {}", status.code, status.reason),
        };
        words.push(word);
    }
}

const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn an_object_is_created_read_replaced_and_deleted() {
    let server = server();
    let client = server.client(ME);
    let api = operations(&client);
    let mut given = operation("a", 1);
    given.status = Some(Standing {
        state: "never".to_owned(),
    });
    let created = api.create(&by_default(), &given).await.unwrap();
    assert_eq!(created.status, None);
    assert_eq!(created.metadata.generation, Some(1));
    assert!(created.metadata.uid.is_some());
    let at = &created.metadata.creation_timestamp.as_ref().unwrap().0;
    assert_eq!(at.to_string(), "2026-01-02T03:04:05Z");

    let read = api.get("a").await.unwrap();
    assert_eq!(read.metadata, created.metadata);

    let mut wanted = read.clone();
    wanted.spec.size = 2;
    wanted.status = given.status.clone();
    let replaced = api.replace("a", &by_default(), &wanted).await.unwrap();
    assert_eq!((replaced.spec.size, &replaced.status), (2, &None));
    assert_eq!(replaced.metadata.generation, Some(2));
    assert_ne!(replaced.metadata.resource_version, read.metadata.resource_version);

    api.delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .right()
        .unwrap();
    assert_eq!(api.get_opt("a").await.unwrap().map(|_| ()), None);
    let verbs: Vec<Verb> = server.writes_from(2).iter().map(|write| write.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::Replace, Verb::Delete]);
}

#[tokio::test(start_paused = true)]
async fn the_status_is_written_through_its_subresource_only() {
    let server = server();
    let api = operations(&server.client(ME));
    let mut object = api.create(&by_default(), &operation("a", 1)).await.unwrap();
    object.spec.size = 9;
    object.labels_mut().insert("a".to_owned(), "b".to_owned());
    object.status = Some(Standing {
        state: "Sending".to_owned(),
    });
    let written = api.replace_status("a", &by_default(), &object).await.unwrap();
    assert_eq!(written.spec.size, 1);
    assert!(written.labels().is_empty());
    assert_eq!(written.status, object.status);
    assert_eq!(written.metadata.generation, Some(1));

    let mut annotated = written.clone();
    annotated.annotations_mut().insert("a".to_owned(), "b".to_owned());
    annotated.status = None;
    let annotated = api.replace("a", &by_default(), &annotated).await.unwrap();
    assert_eq!(annotated.status, object.status);
    assert_eq!(annotated.metadata.generation, Some(1));
    assert_eq!(server.writes_from(3).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_makes_no_revision_and_no_event() {
    let server = server();
    let api = operations(&server.client(ME));
    let object = api.create(&by_default(), &operation("a", 1)).await.unwrap();
    let revision = server.revision();
    let replaced = api.replace("a", &by_default(), &object).await.unwrap();
    let status = api.replace_status("a", &by_default(), &object).await.unwrap();
    assert_eq!(replaced.metadata, object.metadata);
    assert_eq!(status.metadata, object.metadata);
    assert_eq!(server.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn an_old_version_and_another_uid_are_conflicts() {
    let server = server();
    let api = operations(&server.client(ME));
    let first = api.create(&by_default(), &operation("a", 1)).await.unwrap();
    resize(&server, "a", 2);
    for tried in [
        api.replace("a", &by_default(), &first).await,
        api.replace_status("a", &by_default(), &first).await,
    ] {
        let status = refusal(tried.unwrap_err());
        assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        assert!(
            status.message.contains("the object has been modified"),
            "{}",
            status.message
        );
        assert_eq!(status.details.unwrap().name, "a");
    }
    let mut another = api.get("a").await.unwrap();
    another.metadata.uid = Some("x".to_owned());
    let status = refusal(api.replace("a", &by_default(), &another).await.unwrap_err());
    assert_eq!(status.code, 409);
    assert!(
        status.message.contains("Precondition failed: UID"),
        "{}",
        status.message
    );
    another.metadata.resource_version = None;
    let status = refusal(api.replace("a", &by_default(), &another).await.unwrap_err());
    assert_eq!(status.code, 422);
    let only = Preconditions {
        uid: Some("x".to_owned()),
        resource_version: None,
    };
    let deletion = DeleteParams::default().preconditions(only);
    assert_eq!(refusal(api.delete("a", &deletion).await.unwrap_err()).code, 409);
}

#[tokio::test(start_paused = true)]
async fn refusals_name_the_object() {
    let server = server();
    let client = server.client(ME);
    let api = operations(&client);
    let missing = refusal(api.get("a").await.unwrap_err());
    assert_eq!((missing.code, missing.reason.as_str()), (404, "NotFound"));
    assert_eq!(missing.message, "vpsoperations.vps.hostup.se \"a\" not found");
    let details = missing.details.unwrap();
    assert_eq!(
        (
            details.name.as_str(),
            details.group.as_str(),
            details.kind.as_str()
        ),
        ("a", "vps.hostup.se", "vpsoperations")
    );
    api.create(&by_default(), &operation("a", 1)).await.unwrap();
    let twice = refusal(api.create(&by_default(), &operation("a", 1)).await.unwrap_err());
    assert_eq!((twice.code, twice.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(twice.details.unwrap().name, "a");

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let missing = refusal(secrets.get("key").await.unwrap_err());
    assert_eq!(missing.message, "secrets \"key\" not found");

    let elsewhere: Api<Secret> = Api::namespaced(client.clone(), "nowhere");
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "key"}})).unwrap();
    let missing = refusal(elsewhere.create(&by_default(), &secret).await.unwrap_err());
    assert_eq!(missing.message, "namespaces \"nowhere\" not found");

    // A kind that is not installed is not told of by a Status.
    let pods: Api<Pod> = Api::default_namespaced(client);
    let missing = refusal(pods.get("a").await.unwrap_err());
    assert_eq!(
        (missing.code, missing.reason.as_str()),
        (404, "Failed to parse error data")
    );
}

#[tokio::test(start_paused = true)]
async fn built_in_kinds_are_served() {
    let server = server();
    let client = server.client(ME);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    assert!(
        namespaces
            .get("kube-system")
            .await
            .unwrap()
            .metadata
            .uid
            .is_some()
    );
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    assert!(
        policies
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    let lease: Lease = serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {}})).unwrap();
    let mut lease = leases.create(&by_default(), &lease).await.unwrap();
    let old = lease.clone();
    lease.spec.get_or_insert_default().holder_identity = Some("me".to_owned());
    leases.replace("l", &by_default(), &lease).await.unwrap();
    assert_eq!(
        refusal(leases.replace("l", &by_default(), &old).await.unwrap_err()).code,
        409
    );

    let events: Api<K8sEvent> = Api::namespaced(client.clone(), "default");
    let event: K8sEvent =
        serde_json::from_value(json!({"metadata": {"name": "e"}, "note": "n", "eventTime": null})).unwrap();
    events.create(&by_default(), &event).await.unwrap();
    let written = server.get(Kind::EVENT, "default", "e").unwrap();
    assert_eq!(written["note"], "n");

    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"k": "dg=="}});
    server.create(PERSON, Kind::SECRET, "default", secret).unwrap();
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let read = secrets.get("key").await.unwrap();
    assert_eq!(read.data.unwrap()["k"].0, b"v");
    assert_eq!(read.metadata.generation, None);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_of_one_namespace_or_of_all_and_may_be_of_metadata_only() {
    let server = server();
    server.add_namespace("other").unwrap();
    let client = server.client(ME);
    for (namespace, name) in [("default", "b"), ("other", "c"), ("default", "a")] {
        let api: Api<VpsBackupRestore> = Api::namespaced(client.clone(), namespace);
        let object = VpsBackupRestore::new(name, RestoreSpec { size: 1 });
        api.create(&by_default(), &object).await.unwrap();
    }
    let all: Api<VpsBackupRestore> = Api::all(client.clone());
    let listed = all.list(&ListParams::default()).await.unwrap();
    let names: Vec<String> = listed.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        listed.metadata.resource_version,
        Some(server.revision().to_string())
    );
    let some: Api<VpsBackupRestore> = Api::namespaced(client, "other");
    let listed = some.list_metadata(&ListParams::default().limit(1)).await.unwrap();
    assert_eq!(listed.types.kind, "PartialObjectMetadataList");
    let names: Vec<String> = listed.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["c"]);
    let one = some.get_metadata("c").await.unwrap();
    assert_eq!(one.types.unwrap().kind, "PartialObjectMetadata");
    assert_eq!(server.list(Kind::RESTORE, Some("default")).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_patch_merges() {
    let server = server();
    let api = operations(&server.client(ME));
    api.create(&by_default(), &operation("a", 1)).await.unwrap();
    let by = PatchParams::default();
    let patch = json!({"metadata": {"annotations": {"x": "y", "z": "w"}}, "spec": {"size": 2}});
    let patched = api.patch("a", &by, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!((patched.spec.size, patched.annotations().len()), (2, 2));
    assert_eq!(patched.metadata.generation, Some(2));
    let patch = json!({"metadata": {"annotations": {"x": null}}});
    let patched = api.patch("a", &by, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.annotations().len(), 1);
    let patch = json!({"status": {"state": "s"}, "spec": {"size": 3}});
    let patched = api.patch_status("a", &by, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(
        (patched.spec.size, patched.status.unwrap().state.as_str()),
        (2, "s")
    );
    let patch = json!({"metadata": {"resourceVersion": "1"}});
    let stale = api.patch("a", &by, &Patch::Merge(&patch)).await;
    assert_eq!(refusal(stale.unwrap_err()).code, 409);
}

#[tokio::test(start_paused = true)]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let server = server();
    let api = operations(&server.client(ME));
    let mut object = operation("a", 1);
    object.metadata.finalizers = Some(vec!["f/f".to_owned()]);
    api.create(&by_default(), &object).await.unwrap();
    let marked = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let revision = server.revision();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(server.revision(), revision);
    let patch = json!({"metadata": {"finalizers": null}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert!(server.get(Kind::OPERATION, "", "a").is_none());
}

async fn follows(config: watcher::Config) {
    let server = server();
    add(&server, "b");
    add(&server, "a");
    let mut events = pin!(watched(operations(&server.client(ME)), config));
    assert_eq!(words(&mut events).await, ["init", "listed a", "listed b", "done"]);
    add(&server, "c");
    resize(&server, "a", 7);
    server.delete(PERSON, Kind::OPERATION, ("", "b")).unwrap();
    server.add_namespace("another-kind").unwrap();
    assert_eq!(words(&mut events).await, ["applied c", "applied a", "deleted b"]);
    // Over many ends of the watch nothing is told twice, and nothing is missed.
    sleep(secs(3600)).await;
    assert_eq!(words(&mut events).await, [""; 0]);
    add(&server, "d");
    sleep(secs(3600)).await;
    assert_eq!(words(&mut events).await, ["applied d"]);
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_follows_a_list_and_its_changes() {
    follows(watcher::Config::default()).await;
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_follows_a_streamed_list_and_its_changes() {
    follows(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_alone_is_watched() {
    let server = server();
    add(&server, "a");
    let config = watcher::Config::default().streaming_lists();
    let api: Api<PartialObjectMeta<VpsOperation>> = Api::all(server.client(ME));
    let mut events = pin!(watched(api, config));
    assert_eq!(words(&mut events).await, ["init", "listed a", "done"]);
    resize(&server, "a", 3);
    assert_eq!(words(&mut events).await, ["applied a"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_of_its_namespace() {
    let server = server();
    server.add_namespace("other").unwrap();
    let client = server.client(ME);
    let api: Api<VpsBackupRestore> = Api::namespaced(client, "other");
    let mut events = pin!(watched(api, watcher::Config::default()));
    words(&mut events).await;
    for namespace in ["default", "other"] {
        let object = VpsBackupRestore::new(namespace, RestoreSpec { size: 1 });
        let object = serde_json::to_value(object).unwrap();
        server.create(PERSON, Kind::RESTORE, namespace, object).unwrap();
    }
    assert_eq!(words(&mut events).await, ["applied other"]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_reconciles_what_it_watches() {
    let server = server();
    add(&server, "a");
    let client = server.client(ME);
    let reconcile = |object: Arc<VpsOperation>, client: Arc<Client>| async move {
        let mut object = (*object).clone();
        let state = format!("seen {}", object.spec.size);
        object.status = Some(Standing { state });
        let name = object.name_any();
        operations(&client)
            .replace_status(&name, &by_default(), &object)
            .await?;
        Ok::<_, kube::Error>(Action::await_change())
    };
    let controller = Controller::new(operations(&client), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(secs(1)), Arc::new(client))
        .for_each(|_| async {});
    let running = tokio::spawn(controller);
    sleep(secs(2)).await;
    let state = || server.get(Kind::OPERATION, "", "a").unwrap()["status"]["state"].clone();
    assert_eq!(state(), "seen 1");
    resize(&server, "a", 5);
    sleep(secs(2)).await;
    assert_eq!(state(), "seen 5");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_up_and_marks_its_place_before() {
    let server = server();
    let api = operations(&server.client(ME));
    let opened = Instant::now();
    let params = WatchParams::default().timeout(90);
    let mut changes = api
        .watch(&params, &server.revision().to_string())
        .await
        .unwrap()
        .boxed();
    sleep(secs(10)).await;
    add(&server, "a");
    let revision = server.revision();
    let (told, ended) = lines(&mut changes, secs(3600)).await;
    assert_eq!(
        told,
        [
            "added a".to_owned(),
            format!("mark {revision}"),
            format!("mark {revision}")
        ]
    );
    assert!(ended);
    assert_eq!(opened.elapsed().as_secs(), 90);
    assert_eq!(server.open_watches(ME), 1);
    drop(changes);
    assert_eq!(server.open_watches(ME), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_replays_what_came_after_its_version() {
    let server = server();
    add(&server, "a");
    let from = server.revision().to_string();
    add(&server, "b");
    resize(&server, "b", 2);
    let api = operations(&server.client(ME));
    let mut changes = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    assert_eq!(lines(&mut changes, MOMENT).await.0, ["added b", "modified b"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_told_by_an_event_or_by_the_status() {
    let server = server();
    let api = operations(&server.client(ME));
    let old = server.revision().to_string();
    add(&server, "a");
    add(&server, "b");
    server.forget_history(1);
    let mut changes = api.watch(&WatchParams::default(), &old).await.unwrap().boxed();
    assert_eq!(
        lines(&mut changes, MOMENT).await,
        (vec!["410 Expired".to_owned()], true)
    );
    let still = (server.revision() - 1).to_string();
    let mut changes = api.watch(&WatchParams::default(), &still).await.unwrap().boxed();
    assert_eq!(
        lines(&mut changes, MOMENT).await,
        (vec!["added b".to_owned()], false)
    );

    server.set_faults(OnWatches(WatchVerdict {
        gone: Gone::Status,
        ..WatchVerdict::default()
    }));
    let tried = api.watch(&WatchParams::default(), &old).await.map(|_| ());
    assert_eq!(refusal(tried.unwrap_err()).code, 410);
}

#[tokio::test(start_paused = true)]
async fn forgotten_changes_end_only_the_watches_that_have_not_told_of_them() {
    let server = server();
    add(&server, "a");
    let mut mine = pin!(watched(
        operations(&server.client(ME)),
        watcher::Config::default()
    ));
    let mut others = pin!(watched(
        operations(&server.client(OTHER)),
        watcher::Config::default()
    ));
    words(&mut mine).await;
    words(&mut others).await;
    server.freeze(ME, None);
    add(&server, "b");
    assert_eq!(words(&mut others).await, ["applied b"]);
    server.forget_history(0);
    server.thaw(ME, None);
    let told = words(&mut mine).await;
    assert!(told[0].starts_with("error: "), "{told:?}");
    assert_eq!(told[1..], ["init", "listed a", "listed b", "done"]);
    assert_eq!(words(&mut others).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_may_refuse_to_stream_lists_or_not_know_it() {
    let server = server();
    add(&server, "a");
    let api = operations(&server.client(ME));
    let params = WatchParams {
        send_initial_events: true,
        ..WatchParams::default().timeout(30)
    };
    server.set_streamed_lists(StreamedLists::Refused);
    let tried = api.watch(&params, "0").await.map(|_| ());
    let status = refusal(tried.unwrap_err());
    assert_eq!(status.code, 422);
    assert!(status.message.contains("sendInitialEvents"), "{}", status.message);
    server.set_streamed_lists(StreamedLists::Unknown);
    let mut changes = api.watch(&params, "0").await.unwrap().boxed();
    let (told, ended) = lines(&mut changes, secs(60)).await;
    assert!(ended);
    assert_eq!(
        told,
        ["added a".to_owned(), format!("mark {}", server.revision())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_write_stands_before_its_answer_comes() {
    let server = server();
    let api = operations(&server.client(ME));
    server.set_faults(on_writes(Verdict::slow(secs(3), secs(4))));
    let began = Instant::now();
    let (object, given) = (operation("a", 1), by_default());
    let mut call = pin!(api.create(&given, &object));
    assert!(timeout(secs(2), &mut call).await.is_err());
    assert!(server.get(Kind::OPERATION, "", "a").is_none());
    assert!(timeout(secs(2), &mut call).await.is_err());
    assert!(server.get(Kind::OPERATION, "", "a").is_some());
    call.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_lands_though_the_caller_has_given_up() {
    let server = server();
    let api = operations(&server.client(ME));
    server.set_faults(on_writes(Verdict::slow(secs(30), Duration::ZERO)));
    let given_up = timeout(secs(20), api.create(&by_default(), &operation("a", 1))).await;
    assert!(given_up.is_err());
    assert!(server.get(Kind::OPERATION, "", "a").is_none());
    sleep(secs(11)).await;
    assert!(server.get(Kind::OPERATION, "", "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_lost_before_or_after_the_write_or_long_before_it_lands() {
    let server = server();
    let api = operations(&server.client(ME));
    for (verdict, stands_at_once, stands_later) in [
        (Verdict::lost(), false, false),
        (Verdict::answer_lost(), true, true),
        (Verdict::late(secs(60)), false, true),
    ] {
        server.set_faults(on_writes(verdict));
        let lost = api.create(&by_default(), &operation("a", 1)).await.unwrap_err();
        assert!(matches!(lost, kube::Error::Service(_)), "{lost:?}");
        let stands = || server.get(Kind::OPERATION, "", "a").is_some();
        assert_eq!(stands(), stands_at_once);
        sleep(secs(61)).await;
        assert_eq!(stands(), stands_later);
        if stands() {
            server.delete(PERSON, Kind::OPERATION, ("", "a")).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_refused_answered_by_a_stranger_or_never_answered() {
    let server = server();
    let api = operations(&server.client(ME));
    for code in [403, 422, 429, 500, 503, 404] {
        let refused = Refusal::new(code, "Some", "words");
        server.set_faults(move |_: ClientId, _: &RequestInfo| Verdict::refused(refused.clone()));
        let status = refusal(api.get("a").await.unwrap_err());
        assert_eq!((status.code, status.message.as_str()), (code, "words"));
        assert!(status.details.is_none());
    }
    server.set_faults(|_: ClientId, _: &RequestInfo| Verdict {
        answer: Answer::Foreign(200, "<html>".to_owned()),
        ..Verdict::default()
    });
    let odd = api.get("a").await.unwrap_err();
    assert!(matches!(odd, kube::Error::SerdeError(_)), "{odd:?}");
    server.set_faults(|_: ClientId, _: &RequestInfo| Verdict::silent());
    assert!(timeout(secs(100_000), api.get("a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn faults_hear_what_each_request_is() {
    let server = server();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    server.set_faults(move |client: ClientId, request: &RequestInfo| {
        let RequestInfo {
            verb,
            kind,
            part,
            namespace,
            name,
        } = request.clone();
        let words = format!(
            "{} {verb:?} {} {part:?} {namespace:?} {name:?}",
            client.0, kind.plural
        );
        hearing.lock().unwrap().push(words);
        Verdict::default()
    });
    let client = server.client(OTHER);
    let api = operations(&client);
    let made = api.create(&by_default(), &operation("a", 1)).await.unwrap();
    api.replace_status("a", &by_default(), &made).await.unwrap();
    let restores: Api<VpsBackupRestore> = Api::namespaced(client, "default");
    restores.list(&ListParams::default()).await.unwrap();
    api.watch(&WatchParams::default(), "0").await.map(drop).unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "2 Create vpsoperations Whole None Some(\"a\")",
            "2 Replace vpsoperations Status None Some(\"a\")",
            "2 List vpsbackuprestores Whole Some(\"default\") None",
            "2 Watch vpsoperations Whole None None",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_hears_nothing_more_and_its_writes_stay() {
    for (in_flight, lands) in [(InFlight::Lands, true), (InFlight::Lost, false)] {
        let server = server();
        let api = operations(&server.client(ME));
        let mut events = pin!(watched(api.clone(), watcher::Config::default()));
        words(&mut events).await;
        api.create(&by_default(), &operation("before", 1)).await.unwrap();
        words(&mut events).await;
        server.set_faults(on_writes(Verdict::slow(secs(5), secs(5))));
        let (object, given) = (operation("underway", 1), by_default());
        let mut underway = pin!(api.create(&given, &object));
        assert!(timeout(secs(1), &mut underway).await.is_err());
        server.kill(ME, in_flight);
        assert!(timeout(secs(1000), underway).await.is_err());
        assert!(timeout(secs(1000), api.get("before")).await.is_err());
        add(&server, "after");
        assert!(timeout(secs(200), events.next()).await.is_err());
        assert_eq!(server.get(Kind::OPERATION, "", "underway").is_some(), lands);
        let others = operations(&server.client(OTHER));
        others.get("before").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn frozen_watches_bring_nothing_until_they_are_thawed() {
    let server = server();
    let api = operations(&server.client(ME));
    let mut changes = api
        .watch(&WatchParams::default().timeout(60), "0")
        .await
        .unwrap()
        .boxed();
    assert!(lines(&mut changes, MOMENT).await.0.is_empty());
    server.freeze(ME, Some(Kind::OPERATION));
    add(&server, "a");
    assert_eq!(lines(&mut changes, secs(600)).await, (vec![], false));
    server.thaw(ME, Some(Kind::SECRET));
    assert_eq!(lines(&mut changes, secs(600)).await, (vec![], false));
    server.thaw(ME, Some(Kind::OPERATION));
    let (told, ended) = lines(&mut changes, MOMENT).await;
    assert_eq!(told.first().map(String::as_str), Some("added a"));
    assert!(ended);
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_be_frozen_from_the_start() {
    let server = server();
    add(&server, "a");
    server.set_faults(OnWatches(WatchVerdict {
        is_frozen: true,
        ..WatchVerdict::default()
    }));
    let config = watcher::Config::default().streaming_lists();
    let mut events = pin!(watched(operations(&server.client(ME)), config));
    assert_eq!(words(&mut events).await, ["init"]);
    add(&server, "b");
    server.thaw(ME, None);
    assert_eq!(words(&mut events).await, ["listed a", "done", "applied b"]);
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_gets_over_a_frozen_watch() {
    let server = server();
    let config = watcher::Config::default().timeout(60);
    let mut events = pin!(watched(operations(&server.client(ME)), config));
    words(&mut events).await;
    server.freeze(ME, None);
    add(&server, "a");
    let came = timeout(secs(600), events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(word(&came), "applied a");
}

#[tokio::test(start_paused = true)]
async fn watches_are_closed_as_the_simulation_likes() {
    let server = server();
    let api = operations(&server.client(ME));
    for (end, told) in [
        (End::Eof, None),
        (End::Broken, Some("error: Error reading events stream")),
        (End::Gone, Some("410 Expired")),
    ] {
        let from = server.revision().to_string();
        let mut changes = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
        assert!(lines(&mut changes, MOMENT).await.0.is_empty());
        server.close(OTHER, None, End::Eof);
        server.close(ME, None, end);
        let (came, ended) = lines(&mut changes, MOMENT).await;
        assert!(ended);
        assert_eq!(came.len(), usize::from(told.is_some()), "{came:?}");
        assert!(
            came.iter().all(|came| came.starts_with(told.unwrap())),
            "{came:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_end_within_its_list_or_after_some_time() {
    let server = server();
    for name in ["a", "b", "c"] {
        add(&server, name);
    }
    let api = operations(&server.client(ME));
    let params = WatchParams {
        send_initial_events: true,
        ..WatchParams::default()
    };
    let ends = |until, end| {
        OnWatches(WatchVerdict {
            ends: Some((until, end)),
            ..WatchVerdict::default()
        })
    };
    server.set_faults(ends(Until::Objects(2), End::Eof));
    let mut changes = api.watch(&params, "0").await.unwrap().boxed();
    let told = vec!["added a".to_owned(), "added b".to_owned()];
    assert_eq!(lines(&mut changes, MOMENT).await, (told, true));
    server.set_faults(ends(Until::Objects(4), End::Gone));
    let mut changes = api.watch(&params, "0").await.unwrap().boxed();
    assert_eq!(lines(&mut changes, MOMENT).await.0.len(), 4);
    add(&server, "d");
    let told = vec!["added d".to_owned(), "410 Expired".to_owned()];
    assert_eq!(lines(&mut changes, MOMENT).await, (told, true));
    server.set_faults(ends(Until::Time(secs(5)), End::Eof));
    let mut changes = api.watch(&params, "0").await.unwrap().boxed();
    let opened = Instant::now();
    assert!(lines(&mut changes, secs(10)).await.1);
    assert_eq!(opened.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_watch_shows_how_things_stood() {
    let server = server();
    add(&server, "a");
    sleep(secs(10)).await;
    add(&server, "b");
    server.delete(PERSON, Kind::OPERATION, ("", "a")).unwrap();
    let lag = secs(5);
    server.set_faults(OnWatches(WatchVerdict {
        lag,
        ..WatchVerdict::default()
    }));
    let config = watcher::Config::default().streaming_lists();
    let mut events = pin!(watched(operations(&server.client(ME)), config));
    assert_eq!(words(&mut events).await, ["init", "listed a", "done"]);
    sleep(secs(4)).await;
    assert_eq!(words(&mut events).await, [""; 0]);
    sleep(secs(1)).await;
    assert_eq!(words(&mut events).await, ["applied b", "deleted a"]);
    add(&server, "c");
    let asked = Instant::now();
    let came = events.next().await.unwrap().unwrap();
    assert_eq!((word(&came).as_str(), asked.elapsed()), ("applied c", lag));
}

#[tokio::test(start_paused = true)]
async fn a_restored_etcd_ends_the_watches_and_gives_versions_twice() {
    let server = server();
    let api = operations(&server.client(ME));
    add(&server, "a");
    let backup = server.snapshot();
    let mut events = pin!(watched(api.clone(), watcher::Config::default()));
    words(&mut events).await;
    add(&server, "b");
    add(&server, "c");
    words(&mut events).await;
    let lost = api.get("b").await.unwrap();
    let newest = server.revision();
    server.restore(&backup, Revisions::GoBack);
    let told = words(&mut events).await;
    assert!(told[0].starts_with("error: "), "{told:?}");
    assert_eq!(told[1..], ["init", "listed a", "done"]);
    let again = api.create(&by_default(), &operation("b", 2)).await.unwrap();
    assert_eq!(again.resource_version(), lost.resource_version());
    assert_ne!(again.uid(), lost.uid());
    // The uid tells what the version does not.
    assert_eq!(
        refusal(api.replace("b", &by_default(), &lost).await.unwrap_err()).code,
        409
    );
    // A version of before that is yet to come is waited for in silence.
    let params = WatchParams::default();
    let mut changes = api.watch(&params, &newest.to_string()).await.unwrap().boxed();
    add(&server, "d");
    assert_eq!(server.revision(), newest);
    assert_eq!(lines(&mut changes, MOMENT).await, (vec![], false));
    add(&server, "e");
    assert_eq!(lines(&mut changes, MOMENT).await.0, ["added e"]);

    server.restore(&backup, Revisions::BumpedBy(1000));
    let mut changes = api.watch(&params, &newest.to_string()).await.unwrap().boxed();
    assert_eq!(lines(&mut changes, MOMENT).await.0, ["410 Expired"]);
    assert_eq!(server.writes_from(2).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn admission_judges_every_write() {
    let server = server();
    let api = operations(&server.client(ME));
    server.set_admission(|review: &Review<'_>| match (review.verb, review.client) {
        (Verb::Delete, ME) => Err(Refusal::forbidden("nobody forgets")),
        (Verb::Create, _) if review.object["spec"]["size"] == 0 => Err(Refusal::invalid("too small")),
        (Verb::Replace | Verb::Patch, ME) if review.part == Part::Whole => {
            assert_ne!(review.old.unwrap()["spec"], review.object["spec"]);
            Err(Refusal::forbidden("not yours"))
        }
        _ => Ok(()),
    });
    let small = refusal(api.create(&by_default(), &operation("a", 0)).await.unwrap_err());
    assert_eq!((small.code, small.reason.as_str()), (422, "Invalid"));
    let mut made = api.create(&by_default(), &operation("a", 1)).await.unwrap();
    made.spec.size = 2;
    let refused = refusal(api.replace("a", &by_default(), &made).await.unwrap_err());
    assert_eq!((refused.code, refused.details.unwrap().name.as_str()), (403, "a"));
    api.replace_status("a", &by_default(), &made).await.unwrap();
    let kept = refusal(api.delete("a", &DeleteParams::default()).await.unwrap_err());
    assert_eq!(kept.message, "nobody forgets");
    server.delete(PERSON, Kind::OPERATION, ("", "a")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_kind_name_or_namespace_is_not_taken() {
    let server = server();
    let secret = |name| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}});
    let code = |tried: Result<Arc<Value>, Refusal>| tried.unwrap_err().code;
    assert_eq!(code(server.create(PERSON, Kind::OPERATION, "", secret("a"))), 400);
    assert_eq!(
        code(server.create(PERSON, Kind::SECRET, "kube-system", secret("a"))),
        400
    );
    assert_eq!(
        code(server.create(PERSON, Kind::SECRET, "default", secret(""))),
        422
    );
    let stored = server
        .create(PERSON, Kind::SECRET, "default", secret("a"))
        .unwrap();
    assert_eq!(
        code(server.create(PERSON, Kind::SECRET, "default", (*stored).clone())),
        400
    );
    let client = server.client(ME);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let object = secrets.get("a").await.unwrap();
    assert_eq!(
        refusal(secrets.replace("b", &by_default(), &object).await.unwrap_err()).code,
        400
    );
    let everywhere: Api<Secret> = Api::all(client);
    assert_eq!(
        refusal(everywhere.create(&by_default(), &object).await.unwrap_err()).code,
        405
    );
}

/// A minute of several clients that race for one object, told in full.
async fn race() -> Vec<String> {
    let server = server();
    let mut count = 0;
    server.set_faults(move |_: ClientId, _: &RequestInfo| {
        count = (count * 31 + 7) % 1009;
        Verdict::slow(Duration::from_millis(count), Duration::from_millis(count / 3))
    });
    add(&server, "a");
    let racers = (1..5).map(|id| {
        let api = operations(&server.client(ClientId(id)));
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut object = api.get("a").await.unwrap();
                object.spec.size += 1;
                drop(api.replace("a", &by_default(), &object).await);
            }
        })
    });
    futures::future::join_all(racers).await;
    let writes = server.writes_from(0);
    let told = writes.iter().map(|write| {
        format!(
            "{} {} {:?} {} {}",
            write.revision, write.at, write.client, write.name, write.object
        )
    });
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_happens_every_time() {
    let once = race().await;
    assert!(once.len() > 10, "{once:?}");
    assert_eq!(once, race().await);
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_be_refused() {
    let server = server();
    server.set_faults(|_: ClientId, _: &RequestInfo| Verdict::refused(Refusal::forbidden("no")));
    let api = operations(&server.client(ME));
    let tried = api.watch(&WatchParams::default(), "0").await.map(|_| ());
    assert_eq!(refusal(tried.unwrap_err()).code, 403);
}

/// `cargo test figure -- --ignored --nocapture`
#[tokio::test(start_paused = true)]
#[ignore = "it only prints how long a life takes"]
async fn figure_of_a_life() {
    let lives = 200;
    let began = std::time::Instant::now();
    for _ in 0..lives {
        let server = server();
        let api = operations(&server.client(ME));
        let config = watcher::Config::default().streaming_lists();
        let mut events = pin!(watched(api.clone(), config));
        words(&mut events).await;
        for index in 0..10 {
            let name = format!("a{index}");
            let mut object = api.create(&by_default(), &operation(&name, 1)).await.unwrap();
            object.status = Some(Standing::default());
            api.replace_status(&name, &by_default(), &object).await.unwrap();
            api.get(&name).await.unwrap();
            api.list(&ListParams::default()).await.unwrap();
        }
        assert_eq!(words(&mut events).await.len(), 20);
    }
    println!("{:?} a life of 40 requests", began.elapsed() / lives);
}
