//! What is read of HostUp to follow a call.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::operation::VpsOperation;
use crate::api::shared::CredentialsSecretRef;
use crate::controllers::context::{Blocked, Context, blocked, within_a_minute};
use crate::controllers::desk::Followed;
use crate::controllers::{Error, fail_point, jittered};
use crate::domain::ids::VpsId;
use crate::domain::inventory::Vm;
use crate::domain::job::JobState;
use crate::domain::operation::{Input, InventoryReading, OptionsReading, next_look};
use crate::domain::reason::Reason;
use crate::domain::record::{Evidence, Job, Record, State, later};
use crate::domain::report::Trouble;
use crate::domain::text::Text;
use crate::hostup::{Account, ReadError, Reader, Route};

/// The wait after a read for which too many others were under way.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// What came of a look.
pub enum Reading {
    /// Something to go on with.
    Input(Input),
    /// Nothing was needed; look again then, or on a change.
    Settled(Option<Timestamp>),
    /// It could not be read; when to try again.
    Later(Timestamp),
    /// It could not be read, and this is why; when to try again.
    Unreadable(Timestamp, Trouble),
}

/// The job, and every VM once it has ended. Where an unknown outcome's job is not known to HostUp
/// either, the inventory decides.
pub async fn job(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    job: &Job,
    followed: &mut Followed,
) -> Result<Reading, Error> {
    fail_point::reach("before-job-read");
    let seen_failed = record.known.evidence == Some(Evidence::Job);
    let read = async {
        let account = account(ctx, object).await?.reading().map_err(blocked)?;
        let mut state = match account.job(&job.poll_path).await {
            Ok(state) => state,
            // A job that cannot be read neither hides the VM nor proves that there is none.
            Err(ReadError::Unavailable(_)) if record.known.state == State::Unknown => {
                return Ok(Input::JobUnreadable(list(ctx, object, &account).await?));
            }
            Err(error) => return Err(blocked(error)),
        };
        if let JobState::Completed { hints } = &mut state {
            hints.retain(|vps| ctx.ledger.result_of(vps, &record.name).is_none());
        }
        if state == JobState::Lost && seen_failed {
            // That no VM is listed proves something only to a key of the right account.
            account.own_vps(&record.vps).await.map_err(blocked)?;
        }
        if state == JobState::Lost && record.known.state == State::Unknown {
            return searched(ctx, object, &account, record).await;
        }
        let vms = if state.has_ended() || seen_failed || record.known.state == State::Unknown {
            list(ctx, object, &account).await?
        } else {
            Vec::new()
        };
        Ok(Input::Job(state, vms))
    };
    let read = within_a_minute(read).await;
    fail_point::reach("after-job-read");
    if let Ok(Input::Job(
        JobState::Running {
            progress: Some(per_cent),
        },
        _,
    )) = &read
    {
        let step = per_cent / 25 * 25;
        followed.progress = followed.progress.max(Some(step).filter(|step| *step > 0));
    }
    settle(ctx, object, record, read)
}

/// Every VM, and whether the key reads the source too.
pub async fn inventory(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Reading, Error> {
    let read = async {
        let account = account(ctx, object).await?.reading().map_err(blocked)?;
        searched(ctx, object, &account, record).await
    };
    let read = within_a_minute(read).await;
    settle(ctx, object, record, read)
}

async fn searched(
    ctx: &Context,
    object: &VpsOperation,
    account: &Reader,
    record: &Record,
) -> Result<Input, Blocked> {
    let vms = list(ctx, object, account).await?;
    let reads_source = match account.own_vps(&record.vps).await {
        Ok(_) => true,
        Err(ReadError::NotFound { .. }) => false,
        Err(error) => return Err(blocked(error)),
    };
    Ok(Input::Inventory(InventoryReading { vms, reads_source }))
}

/// The options of the VPS; whether the key reads it shows where it does not show them.
pub async fn options(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Reading, Error> {
    fail_point::reach("before-read-back");
    let read = async {
        let account = account(ctx, object).await?.reading().map_err(blocked)?;
        match account.options(&record.vps).await {
            Ok(offers) => Ok(Input::Options(OptionsReading {
                offers,
                reads_vps: true,
            })),
            Err(error @ ReadError::NotFound { .. }) => match account.own_vps(&record.vps).await {
                // Only the VPS itself tells that the key does not read it.
                Err(ReadError::NotFound { .. }) => Ok(Input::Options(OptionsReading {
                    offers: Vec::new(),
                    reads_vps: false,
                })),
                Ok(_) | Err(_) => Err(blocked(error)),
            },
            Err(error) => Err(blocked(error)),
        }
    };
    let read = within_a_minute(read).await;
    fail_point::reach("after-read-back");
    settle(ctx, object, record, read)
}

/// The VM that a person named.
pub async fn named(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    vps: &VpsId,
) -> Result<Reading, Error> {
    let read = async {
        let account = account(ctx, object).await?.reading().map_err(blocked)?;
        match account.vps(vps).await {
            Ok(vm) => Ok(Input::Named(match ctx.ledger.result_of(&vm.id, &record.name) {
                None => Ok(vm),
                Some(other) => Err(Text::new(&format!(
                    "{vps} is the result of VpsOperation {other} already; is it the right VM?"
                ))),
            })),
            Err(ReadError::NotFound {
                route: Route::Vps, ..
            }) => Ok(Input::Named(Err(Text::new(&format!(
                "the key does not read {vps}; is it the right VM?"
            ))))),
            Err(error) => Err(blocked(error)),
        }
    };
    let read = within_a_minute(read).await;
    settle(ctx, object, record, read)
}

async fn account(ctx: &Context, object: &VpsOperation) -> Result<Account, Blocked> {
    let used = &object.spec.credentials_ref;
    let wanted = CredentialsSecretRef {
        name: used.name.clone(),
        key: used.key.clone(),
    };
    // The subject's own namespace: no record may make us read another one's Secret.
    Ok(ctx.account(&object.spec.subject.namespace, &wanted).await?.0)
}

async fn list(ctx: &Context, object: &VpsOperation, account: &Reader) -> Result<Vec<Vm>, Blocked> {
    let vms = account.list_vps().await.map_err(blocked)?;
    let used = &object.spec.credentials_ref;
    ctx.audit(&format!("{}/{}", object.spec.subject.namespace, used.name), &vms);
    Ok(vms)
}

/// A key or a Secret that is wrong is shown on the object; a provider that is away for a moment is not.
pub fn is_shown(trouble: &Trouble) -> bool {
    matches!(trouble.reason, Reason::Unauthorized | Reason::CredentialsMissing)
}

fn settle(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    read: Result<Input, Blocked>,
) -> Result<Reading, Error> {
    let now = ctx.now();
    match read {
        Ok(input) => Ok(Reading::Input(input)),
        Err(Blocked::Busy) => Ok(Reading::Later(later(now, jittered(BUSY_WAIT)))),
        Err(Blocked::Error(error)) => Err(error),
        Err(Blocked::Trouble(trouble)) => {
            let used = &object.spec.credentials_ref;
            if trouble.reason == Reason::Unauthorized {
                let wanted = CredentialsSecretRef {
                    name: used.name.clone(),
                    key: used.key.clone(),
                };
                ctx.secrets.forget(&object.spec.subject.namespace, &wanted);
            }
            let shown = is_shown(&trouble);
            let times = &ctx.settings.times;
            let pause = if shown {
                times.gate_interval
            } else {
                times.poll_interval * 2
            };
            // Trouble is not asked about more often than a job that goes well.
            let again = next_look(record, times, now).min(later(now, times.gate_interval));
            let until = trouble
                .until
                .unwrap_or_else(|| again.max(later(now, jittered(pause))));
            Ok(Reading::Unreadable(until, trouble))
        }
    }
}
