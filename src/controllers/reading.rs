//! Readings of HostUp for one look: what is there is taken, what is missing is asked, and the look ends.

use super::context::{Blocked, Context, blocked};
use crate::accounts::{Account, Age, Asked, Asker, Question, Readings, Want, Who};
use crate::api::shared::CredentialsSecretRef;
use crate::domain::ledger::record::KeyInUse;
use crate::domain::provider::inventory;
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{Subject, VpsId};
use crate::domain::values::moment::Moment;
use crate::domain::values::text::Text;

/// VPSs of one name that a message lists.
const SHOWN_IDS: usize = 8;

/// What was read, with which key.
pub struct Read {
    /// An answer to each question, up to the first refusal.
    pub readings: Readings,
    /// The account.
    pub account: Account,
    /// The key.
    pub key: KeyInUse,
}

/// A question whose answer is read anew.
pub fn now(question: Question) -> Want {
    Want {
        question,
        age: Age::Asked,
    }
}

/// Who asks for an object.
pub fn who(subject: &Subject) -> Who {
    Who::Subject(subject.kind, subject.namespace.clone(), subject.name.clone())
}

/// Asks with the key of a Secret. Where HostUp refuses the key at hand the Secret is read again, for it may have been
/// rotated since the key was kept.
///
/// # Errors
/// [`Blocked`].
pub async fn ask(
    ctx: &Context,
    asker: Asker,
    namespace: &str,
    credentials: &CredentialsSecretRef,
    wants: Vec<Want>,
) -> Result<Read, Blocked> {
    let (account, key) = ctx.account(namespace, credentials).await?;
    let readings = taken(account.ask(asker.clone(), wants.clone()))?;
    if !readings.key_is_refused() {
        return Ok(Read {
            readings,
            account,
            key,
        });
    }
    ctx.secrets.forget(namespace, credentials);
    let (fresh, fresh_key) = ctx.account(namespace, credentials).await?;
    if fresh_key.mark == key.mark {
        return Ok(Read {
            readings,
            account,
            key,
        });
    }
    let readings = taken(fresh.ask(asker, wants))?;
    Ok(Read {
        readings,
        account: fresh,
        key: fresh_key,
    })
}

/// The VPS that has this display name, and when the reading began.
///
/// # Errors
/// [`Blocked`], also where none or several have it.
pub async fn named(
    ctx: &Context,
    asker: Asker,
    namespace: &str,
    credentials: &CredentialsSecretRef,
    name: &str,
) -> Result<(VpsId, Moment), Blocked> {
    let read = ask(ctx, asker, namespace, credentials, vec![now(Question::Vms)]).await?;
    let vms = ctx.vms(namespace, &credentials.name, &read.readings)?;
    let began = read.readings.began().unwrap_or(ctx.moment());
    let vps = inventory::named(&vms, name).map_err(|all| not_one(name, &all, credentials))?;
    Ok((vps, began))
}

fn not_one(name: &str, all: &[VpsId], credentials: &CredentialsSecretRef) -> Blocked {
    let (reason, message) = if all.is_empty() {
        let message = format!(
            "the API key in Secret {} cannot see a VPS with the name {name:?}: check vpsName, and which account the key \
             belongs to",
            credentials.name
        );
        (Reason::VpsNotFound, message)
    } else {
        let ids: Vec<&str> = all.iter().take(SHOWN_IDS).map(VpsId::as_str).collect();
        let more = all.len().saturating_sub(SHOWN_IDS);
        let more = if more > 0 {
            format!(", and {more} more")
        } else {
            String::new()
        };
        let message = format!(
            "{} VPSs have the name {name:?} ({}{more}): set vpsId in a new object, or rename the others in HostUp's panel",
            all.len(),
            ids.join(", ")
        );
        (Reason::VpsNameAmbiguous, message)
    };
    Blocked::Trouble(Trouble {
        reason,
        message: Text::bounded(&message, 900),
        until: None,
    })
}

fn taken(asked: Asked) -> Result<Readings, Blocked> {
    match asked {
        Asked::Ready(readings) => Ok(readings),
        Asked::Waiting => Err(Blocked::Waiting),
        Asked::Held(why) => match blocked(why) {
            Blocked::Trouble(trouble) => Err(Blocked::Held(trouble)),
            other => Err(other),
        },
    }
}
