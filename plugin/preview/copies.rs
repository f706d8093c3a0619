//! Copies of objects: created, waited for, and deleted whatever happens.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use futures::StreamExt;
use futures::stream;
use hostup_operator::api::HOLD;
use hostup_operator::chance::Chance;
use hostup_operator::domain::status::reason::{Reason, Standing};
use hostup_operator::domain::values::ids::SubjectKind;
use indicatif::ProgressBar;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::files::Wanted;
use super::{Found, Previewed};
use crate::call::{CallError, Right, call};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::object::Object;

/// The label of every copy, and the annotation that names the original.
pub const LABEL: &str = "vps.hostup.se/preview";
const ORIGINAL: &str = "vps.hostup.se/preview-of";
/// Field manager of the copies.
const MANAGER: &str = "kubectl-hostup";
/// Copies at one time.
const AT_ONCE: usize = 8;
/// Characters of the original's name in the name of the copy.
const MOST_OF_A_NAME: usize = 40;

/// Previews all objects. Whatever happens, no copy is left, or the failure names it.
pub async fn preview(
    wanted: Vec<Wanted>,
    timeout: Duration,
    cluster: &Cluster,
) -> Result<Vec<Previewed>, Failure> {
    let stop = CancellationToken::new();
    let deadline = Instant::now() + timeout;
    let progress = ProgressBar::new_spinner().with_message(format!("waiting for {} prices", wanted.len()));
    progress.enable_steady_tick(Duration::from_millis(120));
    let mut vpses = BTreeSet::new();
    let planned: Vec<(Wanted, Option<Previewed>)> = wanted
        .into_iter()
        .map(|wanted| placed(wanted, cluster))
        .map(|wanted| {
            let refused = refused(&wanted, &mut vpses);
            (wanted, refused)
        })
        .collect();
    let all = stream::iter(planned)
        .map(|(wanted, refused)| {
            let stop = &stop;
            async move {
                match refused {
                    Some(refused) => refused,
                    None => of_copy(&wanted, deadline, stop, cluster).await,
                }
            }
        })
        .buffered(AT_ONCE)
        .collect();
    let mut all = std::pin::pin!(all);
    let mut interrupted = std::pin::pin!(interrupted());
    let mut was_interrupted = false;
    let previewed: Vec<Previewed> = loop {
        tokio::select! {
            previewed = &mut all => break previewed,
            caught = &mut interrupted, if !was_interrupted => {
                caught?;
                was_interrupted = true;
                progress.set_message("interrupted: deleting the copies");
                stop.cancel();
            }
        }
    };
    progress.finish_and_clear();
    if !was_interrupted {
        return Ok(previewed);
    }
    let left: Vec<&str> = previewed
        .iter()
        .filter(|object| object.result == Found::Error)
        .map(|object| object.message.as_str())
        .collect();
    Err(Failure::told(if left.is_empty() {
        "interrupted; the copies are deleted, and nothing was bought".to_owned()
    } else {
        format!("interrupted; nothing was bought. {}", left.join("; "))
    }))
}

/// Ends when the user or the machine asks this process to end.
async fn interrupted() -> Result<(), io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        caught = tokio::signal::ctrl_c() => caught,
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}

/// In the namespace of `--namespace`, else in its own, else in that of the context.
fn placed(wanted: Wanted, cluster: &Cluster) -> Wanted {
    let own = Some(wanted.namespace.clone()).filter(|own| !own.is_empty());
    let namespace = cluster.named.clone().or(own);
    Wanted {
        namespace: namespace.unwrap_or_else(|| cluster.namespace().to_owned()),
        ..wanted
    }
}

/// Why no copy is made of an object, if none is.
fn refused(wanted: &Wanted, vpses: &mut BTreeSet<String>) -> Option<Previewed> {
    if wanted.id.kind == SubjectKind::VpsBackupRestore {
        return None;
    }
    if wanted.spec.get("legacy").is_some() {
        // Its estimate is a paid call that needs no approval.
        let why = "an order through the legacy API has no preview, because its estimate is a paid call";
        return Some(Previewed::without_copy(
            wanted,
            Found::NoPrice,
            "NotPreviewed",
            why.to_owned(),
        ));
    }
    let member = |name| wanted.spec.get(name).and_then(Value::as_str);
    let vps = member("vpsId").or(member("vpsName")).unwrap_or_default();
    if !vpses.insert(vps.to_owned()) {
        let why =
            format!("another object of the files is for VPS {vps}, and only one of the two is reconciled");
        return Some(Previewed::without_copy(
            wanted,
            Found::NoPrice,
            "TargetConflict",
            why,
        ));
    }
    None
}

async fn of_copy(
    wanted: &Wanted,
    deadline: Instant,
    stop: &CancellationToken,
    cluster: &Cluster,
) -> Previewed {
    let failed = |failure: Failure| {
        let words = match failure {
            Failure::Told(words) => words,
            Failure::NobodyReads => String::new(),
        };
        Previewed::without_copy(wanted, Found::Error, "Refused", words)
    };
    if stop.is_cancelled() {
        return Previewed::without_copy(wanted, Found::NoPrice, "Interrupted", String::new());
    }
    let Some(name) = name_of_copy(&wanted.id.name) else {
        return failed(Failure::told("this machine gives no random name"));
    };
    let objects = cluster.objects(wanted.id.kind, Some(&wanted.namespace));
    // The name is known before the copy is created, so that it can be deleted even if the answer is lost.
    let created = create(wanted, &name, &objects).await;
    let found = match created {
        Ok(()) => tokio::select! {
            found = priced(wanted, &name, &objects, deadline) => found,
            () = stop.cancelled() => Ok(None),
        },
        Err(CallError::Unclear(why)) => Err(Failure::told(format!(
            "{why}. A copy that appears later cannot buy; delete it: kubectl -n {} delete {} {name}",
            wanted.namespace,
            wanted.id.kind.singular()
        ))),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = delete(wanted, &name, &objects).await {
        let kind = wanted.id.kind.singular();
        let namespace = &wanted.namespace;
        let why = match error.into() {
            Failure::Told(why) => why,
            Failure::NobodyReads => String::new(),
        };
        return failed(Failure::told(format!(
            "the copy is not deleted ({why}); it cannot buy. Delete it: kubectl -n {namespace} delete {kind} {name}"
        )));
    }
    match found {
        Ok(copy) => Previewed::of(wanted, copy.as_ref()),
        Err(failure) => failed(failure),
    }
}

/// A name that nothing else has: the name decides which record and which VM belong to a restore.
fn name_of_copy(original: &str) -> Option<String> {
    let random: [u8; 10] = Chance::of_the_machine().bytes()?;
    let random = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    let head: String = original.chars().take(MOST_OF_A_NAME).collect();
    Some(format!("preview-{}-{random}", head.trim_end_matches(['-', '.'])))
}

/// A copy that cannot buy: without the approval, and with a hold.
fn copy_of(wanted: &Wanted, name: &str) -> Value {
    let mut spec = wanted.spec.clone();
    if let Some(members) = spec.as_object_mut() {
        members.remove("approval");
        // A suspended object reads no price.
        members.remove("suspend");
    }
    json!({
        "apiVersion": wanted.version,
        "kind": wanted.id.kind.as_str(),
        "metadata": {
            "name": name,
            "namespace": wanted.namespace,
            "labels": {LABEL: "true"},
            "annotations": {HOLD: "this copy is a preview", ORIGINAL: wanted.id.name},
        },
        "spec": spec,
    })
}

async fn create(wanted: &Wanted, name: &str, objects: &Api<DynamicObject>) -> Result<(), CallError> {
    let right = Right::on_objects("create", wanted.id.kind, Some(&wanted.namespace));
    let copy = copy_of(wanted, name);
    let params = PatchParams::apply(MANAGER);
    call(&right, objects.patch(name, &params, &Patch::Apply(&copy))).await?;
    Ok(())
}

async fn delete(wanted: &Wanted, name: &str, objects: &Api<DynamicObject>) -> Result<(), CallError> {
    let right = Right::on_objects("delete", wanted.id.kind, Some(&wanted.namespace));
    match call(&right, objects.delete(name, &DeleteParams::default())).await {
        Ok(_) | Err(CallError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The copy once it is at rest, or as it was when the time was over.
async fn priced(
    wanted: &Wanted,
    name: &str,
    objects: &Api<DynamicObject>,
    deadline: Instant,
) -> Result<Option<Object>, Failure> {
    let mut last = None;
    let mut seen = std::pin::pin!(watch_object(objects.clone(), name).default_backoff());
    let waited = tokio::time::timeout_at(deadline, async {
        while let Some(shown) = seen.next().await {
            match shown {
                Ok(Some(shown)) => {
                    let object = Object::read(wanted.id.kind, shown)?;
                    let rests = is_at_rest(&object);
                    last = Some(object);
                    if rests {
                        break;
                    }
                }
                Ok(None) => {}
                Err(error) => refused_watch(wanted, error)?,
            }
        }
        Ok(())
    });
    match waited.await {
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) | Err(_) => Ok(last),
    }
}

/// A watch that fails is opened again, except if the user may not watch.
fn refused_watch(wanted: &Wanted, error: kube::runtime::watcher::Error) -> Result<(), Failure> {
    use kube::runtime::watcher::Error;
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status,
        Error::InitialListFailed(_)
        | Error::WatchStartFailed(_)
        | Error::WatchFailed(_)
        | Error::NoResourceVersion => {
            return Ok(());
        }
    };
    if status.code != 403 {
        return Ok(());
    }
    Err(Failure::told(format!(
        "you cannot watch {}s in {}: ask an administrator for the ClusterRole hostup-operator-view there. The API \
         server says: {}",
        wanted.id.kind.singular(),
        wanted.namespace,
        status.message
    )))
}

fn is_at_rest(copy: &Object) -> bool {
    let knows = match copy.reason() {
        // Nobody creates the Secret while this command waits.
        Some(Reason::CredentialsMissing) => true,
        Some(reason) => reason.standing() != Standing::Progressing,
        None => false,
    };
    copy.is_current() && knows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::KindName;

    fn wanted(kind: SubjectKind, spec: Value) -> Wanted {
        Wanted {
            id: KindName {
                kind,
                name: "web-01".to_owned(),
            },
            namespace: "shop".to_owned(),
            version: "vps.hostup.se/v1alpha1".to_owned(),
            spec,
        }
    }

    #[test]
    fn a_copy_has_no_approval_and_holds_every_purchase() {
        let spec = json!({"approval": {"quoteId": "q-a"}, "suspend": true, "source": {"vpsId": "vps_1"}});
        let copy = copy_of(&wanted(SubjectKind::VpsBackupRestore, spec), "preview-x");
        assert_eq!(copy["spec"], json!({"source": {"vpsId": "vps_1"}}));
        let annotations = serde_json::from_value(copy["metadata"]["annotations"].clone()).unwrap();
        assert!(hostup_operator::api::is_held(&annotations));
    }

    #[test]
    fn no_two_copies_have_one_name() {
        let name = |original| name_of_copy(original).unwrap();
        assert_ne!(name("web-01"), name("web-01"));
        let long = name(&"a".repeat(253));
        assert!(long.len() <= 66, "{long}");
    }

    #[test]
    fn an_order_of_the_legacy_api_and_a_second_object_for_a_vps_have_no_copy() {
        let config = |spec| wanted(SubjectKind::VpsResourceConfig, spec);
        let mut vpses = BTreeSet::new();
        assert!(refused(&config(json!({"legacy": {"vmid": 1}})), &mut vpses).is_some());
        assert!(refused(&config(json!({"vpsId": "vps_1"})), &mut vpses).is_none());
        assert!(refused(&config(json!({"vpsId": "vps_2"})), &mut vpses).is_none());
        assert!(refused(&config(json!({"vpsId": "vps_1"})), &mut vpses).is_some());
    }
}
