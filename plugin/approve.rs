//! `approve`: one quote, as it was shown.

use hostup_operator::domain::status::reason::Reason;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::ask;
use crate::call::{CallError, Right, call};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object::{KindName, Object};
use crate::output::{HEADING, Output, WELL};

/// As the printed command of the operator: Flux takes back what a manager named `kubectl...` has set.
const MANAGER: &str = "hostup-approval";
/// The longest name that `spec.approval.approvedBy` takes.
const LONGEST_NAME: usize = 256;

/// Approve the price of an object: show what it buys and what it costs, ask, and approve exactly that quote.
///
/// If the price or the request changes while you look at it, nothing is approved. A ceiling in spec.approval stays as it
/// is. The approval names you (spec.approval.approvedBy).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The object, e.g. vbr/web-01 or vrc/web-01.
    #[arg(value_name = "KIND/NAME")]
    object: KindName,
    /// The quote that you approve. If the object has another quote, nothing is approved.
    #[arg(long, value_name = "ID")]
    quote: Option<String>,
    /// Do not ask. Requires --quote.
    #[arg(short, long, requires = "quote")]
    yes: bool,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let id = &args.object;
    let object = read(id, cluster).await?;
    let place = format!("{id} in {}", object.namespace);
    let quote = current_quote(&object)?;
    if let Some(wanted) = args.quote.as_ref().filter(|wanted| **wanted != quote) {
        return Err(Failure::told(format!(
            "{place} has another quote: {quote} at {}, not {wanted}. Nothing is approved. Look at it, then approve \
             it by its own id",
            object.price()
        )));
    }
    show(&object, &quote, output)?;
    let approval = object.approval.clone().unwrap_or_default();
    if approval.quote.as_ref() == Some(&quote) {
        output.styled(WELL, &format!("{place} is already approved by this quote."))?;
        return Ok(DONE);
    }
    if object.is_approved() {
        let ceiling = approval.ceiling.unwrap_or_default();
        output.styled(
            WELL,
            &format!("{place} is already approved by its ceiling of {ceiling}."),
        )?;
        return Ok(DONE);
    }
    if !args.yes {
        if !ask::is_possible() {
            return Err(Failure::told(format!(
                "nobody can be asked here, because this is not a terminal. To approve what is shown: kubectl hostup \
                 approve {id} -n {} --yes --quote {quote}{}",
                object.namespace, cluster.flags
            )));
        }
        let question = if object.overwrites() {
            format!("Overwrite the VPS and lose its present data, for {place}?")
        } else {
            format!("Approve {} for {place}?", object.price())
        };
        if !ask::confirmed(&question)? {
            output.line("Nothing is approved.")?;
            return Ok(DONE);
        }
    }
    approve(&object, &quote, cluster).await?;
    let waits = match object.reason() {
        Some(Reason::Held | Reason::GatesClosed | Reason::ReadOnly | Reason::PaidCallCap) => {
            ", and goes ahead when nothing else is in the way"
        }
        _ => "",
    };
    output.styled(
        WELL,
        &format!("{place} is approved at {}{waits}.", object.price()),
    )?;
    output.line(format!(
        "To follow it: kubectl -n {} get {} {} -w{}",
        object.namespace,
        crate::object::short(id.kind),
        id.name,
        cluster.flags
    ))?;
    Ok(DONE)
}

async fn read(id: &KindName, cluster: &Cluster) -> Result<Object, Failure> {
    let namespace = cluster.namespace();
    let right = Right::on_objects("get", id.kind, Some(namespace));
    let object = call(&right, cluster.objects(id.kind, Some(namespace)).get(&id.name)).await?;
    Object::read(id.kind, object)
}

/// The id of the quote that may be approved now.
fn current_quote(object: &Object) -> Result<String, Failure> {
    let place = format!("{} in {}", object.id, object.namespace);
    if !object.is_current() {
        return Err(Failure::told(format!(
            "the operator has not priced {place} since it was changed last; wait, then run the command again"
        )));
    }
    let no_more = |reason: &str| {
        Failure::told(format!(
            "there is nothing to approve for {place}: it is {reason}. {}",
            object.message()
        ))
    };
    match object.reason() {
        Some(
            Reason::AwaitingApproval
            | Reason::QuoteExceedsCeiling
            | Reason::ApprovalExpired
            | Reason::GatesClosed
            | Reason::Held
            | Reason::ReadOnly
            | Reason::PaidCallCap,
        ) => {}
        Some(Reason::Rejected | Reason::JobFailed) if object.asks_again() => {}
        Some(Reason::Suspended) => {
            return Err(Failure::told(format!(
                "{place} is suspended, and its price may be that of an older spec. Set spec.suspend to false, then \
                 wait for the price"
            )));
        }
        Some(reason) => return Err(no_more(reason.as_str())),
        None => return Err(no_more(object.ready().map_or("", |ready| &ready.reason))),
    }
    let quote = object.quote.as_ref().map(|quote| quote.id.clone());
    quote.ok_or_else(|| no_more("without a price"))
}

fn show(object: &Object, quote: &str, output: &mut Output) -> Result<(), Failure> {
    output.styled(
        HEADING,
        &format!("{} in namespace {}", object.id, object.namespace),
    )?;
    let mut facts = object.wish.clone();
    if let Some(shown) = &object.quote {
        let currency = shown.currency_code.as_deref().unwrap_or_default();
        let month = shown.estimated_per_month.as_ref().map_or_else(String::new, |month| {
            format!(" (about {month} {currency} for a month of 730 hours), until you cancel the VM in HostUp's panel")
        });
        facts.push(("Price", format!("{}{month}", shown.summary)));
    }
    facts.push(("Quote", quote.to_owned()));
    let approval = object.approval.clone().unwrap_or_default();
    if let Some(ceiling) = approval.ceiling {
        facts.push(("Ceiling", format!("{ceiling}; it stays as it is")));
    }
    facts.extend(object.advice().into_iter().map(|advice| ("Advice", advice)));
    facts.extend(object.closed_gates().into_iter().map(|gate| ("Closed", gate)));
    // The operator's own words for anything unusual, without the command that this one replaces.
    let message = object.offer();
    facts.push((object.reason().map_or("", Reason::as_str), message.to_owned()));
    output.facts(&facts)
}

/// Approves the quote on exactly the version that was shown.
async fn approve(object: &Object, quote: &str, cluster: &Cluster) -> Result<(), Failure> {
    let id = &object.id;
    let patch = json!({
        "metadata": {"resourceVersion": object.version},
        "spec": {"approval": {"quoteId": quote, "approvedBy": user_name(cluster).await}},
    });
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let right = Right::to_approve(object);
    let objects = cluster.objects(id.kind, Some(&object.namespace));
    match call(&right, objects.patch(&id.name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        Err(CallError::Conflict) => Err(changed_meanwhile(object, quote, cluster).await),
        Err(error) => Err(error.into()),
    }
}

/// The name that the API server knows the user by; null if it does not say, or if the field cannot take it: then the
/// approval names nobody, and does not keep the name of somebody else.
async fn user_name(cluster: &Cluster) -> Value {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    let user = review.ok().and_then(|review| review.status?.user_info?.username);
    let fits = |name: &String| {
        (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(|c| c.is_ascii_control())
    };
    user.filter(fits).map_or(Value::Null, Value::String)
}

async fn changed_meanwhile(shown: &Object, quote: &str, cluster: &Cluster) -> Failure {
    let place = format!("{} in {}", shown.id, shown.namespace);
    let now = match read(&shown.id, cluster).await {
        Ok(object) => object,
        Err(failure) => return failure,
    };
    let other = now.quote.as_ref().filter(|other| other.id != quote);
    Failure::told(match other {
        Some(other) => format!(
            "the quote of {place} has changed while you looked at it: from {} ({quote}) to {} ({}). Nothing is \
             approved. Run the command again",
            shown.price(),
            other.summary,
            other.id
        ),
        None => {
            format!("{place} has changed while you looked at it. Nothing is approved. Run the command again")
        }
    })
}
