//! Readings of HostUp for one look: what is there is taken, what is missing is asked, and the look ends.

use super::context::{Blocked, Context, blocked};
use crate::accounts::{Account, Age, Asked, Asker, Question, Readings, Want, Who};
use crate::api::shared::CredentialsSecretRef;
use crate::domain::ledger::record::KeyInUse;
use crate::domain::values::ids::Subject;

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
