//! `backups`: the backups of a VPS, as HostUp lists them.

use std::cmp::Reverse;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hostup_operator::api::shared::CredentialsSecretRef;
use hostup_operator::args;
use hostup_operator::clock::Clock;
use hostup_operator::domain::provider::backup::ListedBackup;
use hostup_operator::domain::values::ids::VpsId;
use hostup_operator::domain::values::text::Text;
use hostup_operator::hostup::{HostUp, Http, ReadError, Signal, Traffic, Way};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use crate::call::{Right, call};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::output::{Cell, OPEN, Output, PLAIN, Plain, Table, age, time};

/// The longest wait for HostUp.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Show the backups of a VPS, newest first, to choose one for a restore.
///
/// Asks HostUp itself, with an API key from a Secret that you may read. Sends one request, which changes nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id of the VPS at HostUp.
    #[arg(value_name = "VPS")]
    vps: String,
    /// The Secret with the API key, in the namespace.
    #[arg(long, value_name = "NAME", default_value_t = CredentialsSecretRef::default().name)]
    secret: String,
    /// The key of the Secret's data that contains the API key.
    #[arg(long, value_name = "KEY", default_value_t = CredentialsSecretRef::default().key)]
    key: String,
    /// HostUp's address. Plain HTTP is allowed only to localhost.
    #[arg(long, value_name = "URL", env = "HOSTUP_URL", default_value = "https://cloud.hostup.se", value_parser = origin)]
    hostup_url: Url,
    /// The format of the output.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Plain>,
}

/// An origin to which a key may go: nobody on the way can read it.
fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default();
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && args::is_this_host(host));
    if is_safe && !args::names_a_user(&url) && !args::leads_below_its_origin(&url) {
        Ok(url)
    } else {
        Err("it must be an origin with https, like https://cloud.hostup.se".to_owned())
    }
}

/// One call alone: nothing has to be paced.
struct Unpaced;

impl Traffic for Unpaced {
    fn may_leave(&self) -> Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send + '_>> {
        Box::pin(future::ready(Ok(())))
    }

    fn signal(&self, _: Signal) {}
}

/// A backup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    created_at: Option<Timestamp>,
    size_gb: Option<String>,
    r#type: Option<String>,
    note: Option<String>,
    is_complete: bool,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let key = key(args, cluster).await?;
    let http = Http::new(Way::default(), TIMEOUT).map_err(|error| Failure::told(error.to_string()))?;
    let hostup = HostUp::new(
        args.hostup_url.clone(),
        Arc::new(http),
        Clock::of_the_machine(),
        TIMEOUT,
        Arc::new(|_, _, _| {}),
    );
    let account = hostup.account(key, Arc::new(Unpaced));
    let listed = account
        .backups(&VpsId::new(&args.vps))
        .await
        .map_err(|error| Failure::told(format!("the backups of {} cannot be read: {error}", args.vps)))?;
    let mut rows: Vec<Row> = listed.backups.iter().map(Row::of).collect();
    rows.sort_by_key(|row| Reverse((row.created_at, row.id.clone())));
    match args.output {
        Some(Plain::Json) => output.json(&rows)?,
        None if rows.is_empty() => output.line(format!("VPS {} has no backup.", args.vps))?,
        None => table(&rows, output)?,
    }
    if !listed.can_restore.allowed {
        anstream::eprintln!("{OPEN}note: HostUp does not allow a restore of this VPS now{OPEN:#}");
    }
    Ok(DONE)
}

async fn key(args: &Args, cluster: &Cluster) -> Result<SecretString, Failure> {
    let namespace = cluster.namespace();
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
    let secret = call(
        &Right::on_secret(&args.secret, namespace),
        secrets.get(&args.secret),
    )
    .await?;
    let bytes = secret.data.and_then(|mut data| data.remove(&args.key));
    let key = bytes.and_then(|bytes| String::from_utf8(bytes.0).ok());
    let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    key.map(SecretString::from).ok_or_else(|| {
        Failure::told(format!(
            "the Secret {} in {namespace} has no API key in its data at {}; name another by --secret and --key",
            args.secret, args.key
        ))
    })
}

fn table(rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut table = Table::new(["ID", "CREATED", "AGE", "SIZE", "TYPE", "STATUS", "NOTE"]);
    for row in rows {
        let status = if row.is_complete {
            Cell::styled(PLAIN, "complete")
        } else {
            Cell::styled(OPEN, "incomplete")
        };
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
        table.add([
            Cell::from(&row.id),
            text(&row.created_at.map(time)),
            text(&row.created_at.map(|at| age(at, now))),
            text(&row.size_gb.as_ref().map(|size| format!("{size} GB"))),
            text(&row.r#type),
            status,
            text(&row.note),
        ]);
    }
    output.table(&table)
}

impl Row {
    fn of(backup: &ListedBackup) -> Self {
        Self {
            id: backup.id.to_string(),
            created_at: backup.created_at,
            size_gb: backup.size_gb.map(|size| size.to_string()),
            r#type: backup.kind.as_ref().map(Text::to_string),
            note: backup.note.as_ref().map(Text::to_string),
            is_complete: backup.complete().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_https_or_to_this_host() {
        for good in [
            "https://cloud.hostup.se",
            "http://127.0.0.1:8080",
            "http://[::1]:80/",
            "http://localhost",
        ] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "http://cloud.hostup.se",
            "https://me@x.se",
            "https://:secret@x.se",
            "https://x.se/#part",
            "https://x.se/path",
            "ftp://x.se",
            "x",
            "http://127.0.0.1.x.se",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
