//! `hold` and `release`: the annotation that stops new purchases.

use std::str::FromStr;

use hostup_operator::api::HOLD;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::ask;
use crate::call::{Right, call};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object::{KindName, Object};
use crate::output::Output;

/// Hold new purchases of a namespace or of one object. Calls that were already sent are still followed.
///
/// No GitOps tool undoes a hold. To hold the whole installation, hold the operator's own namespace.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// A namespace, or an object, e.g. vbr/web-01.
    #[arg(value_name = "NAMESPACE|KIND/NAME")]
    held: Held,
    /// Why, for those who read the annotation.
    #[arg(long, value_name = "WORDS", default_value = "true", value_parser = reason)]
    reason: String,
}

/// Lift the hold of a namespace or of one object. An approved purchase then goes ahead.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// A namespace, or an object, e.g. vbr/web-01.
    #[arg(value_name = "NAMESPACE|KIND/NAME")]
    held: Held,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// What a hold is on.
#[derive(Debug, Clone)]
enum Held {
    Namespace(String),
    Object(KindName),
}

impl FromStr for Held {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text.is_empty() => Err("name a namespace, or KIND/NAME".to_owned()),
            None => Ok(Self::Namespace(text.to_owned())),
            Some(("ns" | "namespace" | "namespaces", name)) => Ok(Self::Namespace(name.to_owned())),
            Some(_) => text.parse().map(Self::Object),
        }
    }
}

fn reason(words: &str) -> Result<String, String> {
    let words = words.trim();
    if words.is_empty() || words == "false" {
        return Err("the annotation would hold nothing; write a reason, or omit the flag".to_owned());
    }
    Ok(words.to_owned())
}

/// Runs `hold`.
pub async fn hold(args: &HoldArgs, cluster: &Cluster, output: &mut Output) -> Outcome {
    let place = annotate(&args.held, json!(args.reason), cluster).await?;
    output.line(format!(
        "New purchases of {place} are held. Calls that were already sent are followed."
    ))?;
    Ok(DONE)
}

/// Runs `release`.
pub async fn release(args: &ReleaseArgs, cluster: &Cluster, output: &mut Output) -> Outcome {
    if !args.yes {
        let place = described(&args.held, cluster);
        if !ask::is_possible() {
            return Err(Failure::told(format!(
                "an approved purchase of {place} goes ahead without the hold, and nobody can be asked here, because \
                 this is not a terminal; add --yes"
            )));
        }
        if let Held::Object(id) = &args.held {
            let namespace = cluster.namespace();
            let right = Right::on_objects("get", id.kind, Some(namespace));
            let object = call(&right, cluster.objects(id.kind, Some(namespace)).get(&id.name)).await?;
            let object = Object::read(id.kind, object)?;
            let mut facts = object.wish.clone();
            facts.push(("Price", object.price().to_owned()));
            let approved = if object.is_approved() { "yes" } else { "no" };
            facts.push(("Approved", approved.to_owned()));
            output.facts(&facts)?;
        }
        if !ask::confirmed(&format!(
            "Lift the hold of {place}? Approved purchases then go ahead."
        ))? {
            output.line("The hold stays.")?;
            return Ok(DONE);
        }
    }
    let place = annotate(&args.held, Value::Null, cluster).await?;
    output.line(format!(
        "The hold on {place} is removed. A hold on its Namespace or on the operator's Namespace still applies."
    ))?;
    Ok(DONE)
}

fn described(held: &Held, cluster: &Cluster) -> String {
    match held {
        Held::Namespace(name) => format!("namespace {name}"),
        Held::Object(id) => format!("{id} in {}", cluster.namespace()),
    }
}

/// Sets the annotation, or (null) removes it, and says of what.
async fn annotate(held: &Held, value: Value, cluster: &Cluster) -> Result<String, Failure> {
    let patch = json!({"metadata": {"annotations": {HOLD: value}}});
    let patch = Patch::Merge(&patch);
    let params = PatchParams::default();
    match held {
        Held::Namespace(name) => {
            let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
            let right = Right::on_namespace("patch", name);
            call(&right, namespaces.patch_metadata(name, &params, &patch)).await?;
        }
        Held::Object(id) => {
            let namespace = cluster.namespace();
            let right = Right::on_objects("patch", id.kind, Some(namespace));
            let objects = cluster.objects(id.kind, Some(namespace));
            call(&right, objects.patch_metadata(&id.name, &params, &patch)).await?;
        }
    }
    Ok(described(held, cluster))
}
