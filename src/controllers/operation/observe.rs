//! What is read of HostUp to follow a call.

use jiff::Timestamp;

use crate::accounts::{Age, Answer, Asker, Class, Question, Want, Who};
use crate::api::operation::VpsOperation;
use crate::api::shared::CredentialsSecretRef;
use crate::cluster::fail_point;
use crate::controllers::context::{Blocked, Context, blocked};
use crate::controllers::{Error, reading};
use crate::domain::action::follow::{
    BackupsReading, Input, InventoryReading, JobTimes, OptionsReading, next_look, waits_for_its_job,
};
use crate::domain::action::ordered::ActionKind;
use crate::domain::ledger::names::VmToken;
use crate::domain::ledger::record::{Evidence, Job, Record, State, later};
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::job::JobState;
use crate::domain::provider::options::sizes;
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{Uid, VpsId};
use crate::domain::values::text::Text;
use crate::hostup::{ReadError, Route};
use crate::ledger::memory::Followed;

/// What came of a look.
pub enum Reading {
    /// Something to go on with.
    Input(Input),
    /// Nothing was needed; look again then, or on a change.
    Settled(Option<Timestamp>),
    /// It has been asked for; the record is looked at again once it is there.
    Waiting,
    /// It could not be read, and this is why; when to try again.
    Unreadable(Timestamp, Trouble),
    /// The same, and the record is also looked at again once it is there.
    Held(Timestamp, Trouble),
}

/// What is known of the time that jobs of the account take, where it matters.
pub async fn job_times(ctx: &Context, object: &VpsOperation, record: &Record) -> JobTimes {
    if !waits_for_its_job(record) {
        return JobTimes::Unknown;
    }
    let account = ctx
        .account(&object.spec.subject.namespace, &credentials(object))
        .await;
    account.map_or(JobTimes::Unknown, |(account, _)| account.job_times(&record.name))
}

/// The job, and the VMs that may be its own once it has ended. Where an unknown outcome's job is not known to HostUp
/// either, the inventory decides.
pub async fn job(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    job: &Job,
    followed: &mut Followed,
) -> Result<Reading, Error> {
    fail_point::reach("before-job-read");
    let is_news = followed.memo.ended_since.is_none();
    let read = read_job(ctx, object, record, job, is_news, &mut followed.word).await;
    if read.is_ok() {
        fail_point::reach("after-job-read");
    }
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
    settle(ctx, record, read)
}

/// `is_news` where the job has not been seen ended before. HostUp's word for where it stands goes into `shown`.
async fn read_job(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    job: &Job,
    is_news: bool,
    shown: &mut Option<Text>,
) -> Result<Input, Blocked> {
    let seen_failed = record.known.evidence == Some(Evidence::Job);
    let of_job = Question::Job(job.poll_path.clone());
    let read = match ask(ctx, object, record, vec![reading::now(of_job.clone())]).await {
        // A job that cannot be read neither hides the VM nor proves that there is none.
        Err(Blocked::Held(trouble))
            if trouble.reason == Reason::ProviderUnavailable
                && record.known.state == State::Unknown
                && record.action.restoration().is_some() =>
        {
            let vms = list(ctx, object, record).await?;
            return Ok(Input::JobUnreadable(vms));
        }
        read => read?,
    };
    let state = read.readings.take(&of_job, |answer| match answer {
        Answer::Job(state, word) => Some((state.clone(), word.clone())),
        _ => None,
    });
    let (mut state, word) = match state {
        // A key without the right to read jobs is told nothing of one that runs.
        Err(ReadError::Forbidden(_)) if record.action.restoration().is_some() && !seen_failed => {
            let vms = list(ctx, object, record).await?;
            return Ok(Input::JobUnreadable(vms));
        }
        // The list of backups tells more.
        Err(ReadError::Forbidden(_)) if record.action.kind() == ActionKind::CreateBackup => {
            (JobState::Lost, None)
        }
        read => read.map_err(blocked)?,
    };
    *shown = word.or(shown.take());
    if record.action.kind() == ActionKind::CreateBackup && state == JobState::Lost {
        // The list of backups tells more, and of an accepted one it is asked next.
        return match record.known.state {
            State::Unknown => read_backups(ctx, object, record).await,
            _ => Ok(Input::Job(state, Vec::new())),
        };
    }
    if record.action.restoration().is_none() {
        // Nothing but the job shows what became of it, and a missing one proves something only to a key of the right account.
        if state == JobState::Lost && own_vps(ctx, object, record).await?.is_err() {
            return Ok(Input::JobUnreadable(Vec::new()));
        }
        return Ok(Input::Job(state, Vec::new()));
    }
    if state == JobState::Lost && record.known.state == State::Unknown {
        return searched(ctx, object, record).await;
    }
    let ended = read.readings.of(&of_job).map(|reading| reading.ended);
    let mut vms = if state.has_ended() || seen_failed || record.known.state == State::Unknown {
        // One list, begun after the end, answers for every job that had ended before. A list that did not show the VM
        // is not looked at again.
        let is_first = is_news && !seen_failed && record.known.state == State::Accepted;
        let age = match ended {
            Some(ended) if state.has_ended() && is_first => Age::After(ended),
            Some(_) | None => Age::Asked,
        };
        let want = Want {
            question: Question::Vms,
            age,
        };
        let hints = match &state {
            JobState::Completed { hints, .. } => hints.as_slice(),
            JobState::Running { .. } | JobState::Failed { .. } | JobState::Lost => &[],
        };
        let read = ask(ctx, object, record, vec![want]).await?;
        vms_of(ctx, object, record, &read, hints)?
    } else {
        Vec::new()
    };
    let has_ended = !matches!(state, JobState::Running { .. });
    if seen_failed && has_ended && vms.is_empty() {
        // That no VM is listed proves something only to a key of the right account, and by a list that shows the source.
        let read = ask(ctx, object, record, list_and_source(record)).await?;
        vms = vms_of(ctx, object, record, &read, &[])?;
        let shows_others = || read.readings.vms().is_ok_and(|all| !all.is_empty());
        match read.readings.own_vps(&record.vps) {
            // HostUp still tells of the job, so the account is the right one, and the source is gone.
            Err(ReadError::NotFound { .. }) if state != JobState::Lost && shows_others() => {}
            own => drop(own.map_err(blocked)?),
        }
    }
    if let JobState::Completed { hints, .. } = &mut state {
        // A job that names the VM of another purchase names none of ours.
        let own = token(record);
        hints.retain(|hint| {
            let named = vms.iter().find(|vm| vm.id == *hint);
            named.is_some_and(|vm| !ctx.books.ledger.bears_anothers_token(vm, own.as_ref()))
        });
    }
    Ok(Input::Job(state, vms))
}

/// Reads the VMs whose names contain the token, and whether the key can also read the source.
pub async fn inventory(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Reading, Error> {
    let read = searched(ctx, object, record).await;
    settle(ctx, record, read)
}

async fn searched(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Input, Blocked> {
    let read = ask(ctx, object, record, list_and_source(record)).await?;
    let vms = vms_of(ctx, object, record, &read, &[])?;
    let reads_source = match read.readings.own_vps(&record.vps) {
        Ok(_) => true,
        Err(ReadError::NotFound { .. }) => false,
        Err(error) => return Err(blocked(error)),
    };
    Ok(Input::Inventory(InventoryReading { vms, reads_source }))
}

/// The options or the size of the VPS; whether the key reads it shows where it does not show them.
pub async fn options(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Reading, Error> {
    fail_point::reach("before-read-back");
    let read = match record.action.kind() {
        ActionKind::ResizeCloudVm => read_size(ctx, object, record).await,
        _ => read_options(ctx, object, record).await,
    };
    if read.is_ok() {
        fail_point::reach("after-read-back");
    }
    settle(ctx, record, read)
}

async fn read_options(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Input, Blocked> {
    let of_options = Question::Options(record.vps.clone());
    let read = ask(ctx, object, record, vec![reading::now(of_options)]).await?;
    match read.readings.options(&record.vps) {
        Ok(offers) => Ok(Input::Options(OptionsReading {
            offers,
            reads_vps: true,
        })),
        Err(error @ ReadError::NotFound { .. }) => match own_vps(ctx, object, record).await? {
            // Only the VPS itself tells that the key does not read it.
            Err(ReadError::NotFound { .. }) => Ok(Input::Options(OptionsReading {
                offers: Vec::new(),
                reads_vps: false,
            })),
            Ok(()) | Err(_) => Err(blocked(error)),
        },
        Err(error) => Err(blocked(error)),
    }
}

/// The backups of the VPS; whether the key reads it shows where they cannot be read.
pub async fn backups(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Reading, Error> {
    fail_point::reach("before-read-back");
    let read = read_backups(ctx, object, record).await;
    if read.is_ok() {
        fail_point::reach("after-read-back");
    }
    settle(ctx, record, read)
}

async fn read_backups(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Input, Blocked> {
    let question = Question::Backups(record.vps.clone());
    let read = ask(ctx, object, record, vec![reading::now(question.clone())]).await?;
    let listed = read.readings.take(&question, |answer| match answer {
        Answer::Backups(listed) => Some(listed.backups.clone()),
        _ => None,
    });
    let reading = |backups, reads_vps| Input::Backups(BackupsReading { backups, reads_vps });
    match listed {
        Ok(backups) => Ok(reading(backups, true)),
        Err(error @ ReadError::NotFound { .. }) => match own_vps(ctx, object, record).await? {
            Err(ReadError::NotFound { .. }) => Ok(reading(Vec::new(), false)),
            Ok(()) | Err(_) => Err(blocked(error)),
        },
        Err(error) => Err(blocked(error)),
    }
}

/// The size of the VM, as the parts that can be ordered.
async fn read_size(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Input, Blocked> {
    let question = Question::Vps(record.vps.clone());
    let read = ask(ctx, object, record, vec![reading::now(question)]).await?;
    match read.readings.own_vps(&record.vps) {
        Ok(own) => Ok(Input::Options(OptionsReading {
            offers: sizes(own.size),
            reads_vps: true,
        })),
        Err(ReadError::NotFound { .. }) => Ok(Input::Options(OptionsReading {
            offers: Vec::new(),
            reads_vps: false,
        })),
        Err(error) => Err(blocked(error)),
    }
}

/// Whether the key reads the VPS that the record is about.
async fn own_vps(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
) -> Result<Result<(), ReadError>, Blocked> {
    let question = Question::Vps(record.vps.clone());
    let read = ask(ctx, object, record, vec![reading::now(question)]).await?;
    Ok(read.readings.own_vps(&record.vps).map(drop))
}

/// The VM that a person named.
pub async fn named(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    vps: &VpsId,
) -> Result<Reading, Error> {
    let read = read_named(ctx, object, record, vps).await;
    settle(ctx, record, read)
}

async fn read_named(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    vps: &VpsId,
) -> Result<Input, Blocked> {
    let question = Question::Vm(vps.clone());
    let read = ask(ctx, object, record, vec![reading::now(question)]).await?;
    match read.readings.vm(vps) {
        Ok(mut vm) => {
            vm.result_of = ctx.books.ledger.result_of(&vm.id, Some(&record.name));
            let mistaken =
                vm.result_of.is_none() && ctx.books.ledger.bears_anothers_token(&vm, token(record).as_ref());
            Ok(Input::Named(if mistaken {
                Err(Text::new(&format!(
                    "the name of {vps} contains the token of another purchase; check that it is the right VM"
                )))
            } else {
                Ok(vm)
            }))
        }
        Err(ReadError::NotFound {
            route: Route::Vps, ..
        }) => Ok(Input::Named(Err(Text::new(&format!(
            "the key does not read {vps}; check that it is the right VM"
        ))))),
        Err(error) => Err(blocked(error)),
    }
}

/// The token in the name of the VM that a restore creates.
fn token(record: &Record) -> Option<VmToken> {
    record.action.restoration()?.token()
}

async fn list(ctx: &Context, object: &VpsOperation, record: &Record) -> Result<Vec<Vm>, Blocked> {
    let read = ask(ctx, object, record, vec![reading::now(Question::Vms)]).await?;
    vms_of(ctx, object, record, &read, &[])
}

/// What absence is concluded from.
fn list_and_source(record: &Record) -> Vec<Want> {
    let of_source = Question::Vps(record.vps.clone());
    vec![reading::now(Question::Vms), reading::now(of_source)]
}

/// The VMs whose names contain the token of the purchase, and those that its job names.
fn vms_of(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    read: &reading::Read,
    hints: &[VpsId],
) -> Result<Vec<Vm>, Blocked> {
    let namespace = &object.spec.subject.namespace;
    let vms = ctx.vms(namespace, &object.spec.credentials_ref.name, &read.readings)?;
    let own = token(record);
    let matters =
        |vm: &Vm| hints.contains(&vm.id) || own.as_ref().is_some_and(|own| own.is_borne_by(&vm.name));
    Ok(ctx.books.ledger.with_results(&vms, Some(&record.name), matters))
}

/// With the key of the subject's own namespace: no record may make us read another one's Secret.
async fn ask(
    ctx: &Context,
    object: &VpsOperation,
    record: &Record,
    wants: Vec<Want>,
) -> Result<reading::Read, Blocked> {
    let asked_a_person = record.known.state == State::Unknown && record.known.evidence.is_some();
    let asker = Asker {
        who: Who::Record(record.name.clone()),
        uid: Uid::new(object.metadata.uid.clone().unwrap_or_default()),
        generation: object.metadata.generation.unwrap_or_default(),
        class: if asked_a_person && record.answer.is_none() {
            Class::Routine
        } else {
            Class::Sent
        },
        since: record.claimed_by(),
    };
    reading::ask(
        ctx,
        asker,
        &object.spec.subject.namespace,
        &credentials(object),
        wants,
    )
    .await
}

fn credentials(object: &VpsOperation) -> CredentialsSecretRef {
    let used = &object.spec.credentials_ref;
    CredentialsSecretRef {
        name: used.name.clone(),
        key: used.key.clone(),
    }
}

/// A key or a Secret that is wrong is shown on the object; a provider that is away for a moment is not.
pub fn is_shown(trouble: &Trouble) -> bool {
    matches!(trouble.reason, Reason::Unauthorized | Reason::CredentialsMissing)
}

fn settle(ctx: &Context, record: &Record, read: Result<Input, Blocked>) -> Result<Reading, Error> {
    let now = ctx.now();
    match read {
        Ok(input) => Ok(Reading::Input(input)),
        Err(Blocked::Waiting) => Ok(Reading::Waiting),
        Err(Blocked::Error(error)) => Err(error),
        Err(Blocked::Trouble(trouble)) => Ok(Reading::Unreadable(until(ctx, record, &trouble, now), trouble)),
        Err(Blocked::Held(trouble)) => Ok(Reading::Held(until(ctx, record, &trouble, now), trouble)),
    }
}

/// When to try again. Trouble is not asked about more often than a job that goes well.
fn until(ctx: &Context, record: &Record, trouble: &Trouble, now: Timestamp) -> Timestamp {
    let times = &ctx.settings.times;
    let pause = if is_shown(trouble) {
        times.gate_interval
    } else {
        times.poll_interval * 2
    };
    let again = next_look(record, JobTimes::Unknown, times, now).min(later(now, times.gate_interval));
    trouble
        .until
        .unwrap_or_else(|| again.max(later(now, ctx.books.chance.jittered(pause))))
}
