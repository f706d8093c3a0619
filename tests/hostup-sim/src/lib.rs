//! A simulator of the HostUp public API, for tests and demonstrations.
//!
//! It is written from the provider's pages (doc comments name the page a fact comes from, or say
//! "assumed"), never from a client, so that it cannot agree with a client's mistakes.
//!
//! - [`Sim`] serves HTTP/1.1 on a loopback port from a thread of its own. [`InProcess`] answers without a
//!   wire, for simulations under virtual time.
//! - [`World`] is what the provider knows: accounts, VPSs, backups, jobs. Tests read and change it
//!   with [`Backstage::world`].
//! - [`Purchase`]s form the ledger: what was *executed*, whatever was answered.
//! - [`RequestRecord`]s form the log: what *arrived*, and what was answered.
//! - [`Fault`]s say, for the n-th call of a route, whether it is acted on and, independently, what
//!   is answered. [`Gate`]s hold a request before or after it is acted on.
//! - [`RestoreBehaviour`], [`ConfigBehaviour`], [`LegacyBehaviour`], [`ResizeBehaviour`],
//!   [`OverwriteBehaviour`], [`BackupBehaviour`] and [`Oddities`] hold the switches for what the provider's pages leave open.
//!
//! ```
//! use hostup_sim::{Answer, Fault, Route, Sim};
//!
//! let sim = Sim::start();
//! let account = sim.world(|w| w.add_account("key-1"));
//! sim.inject(Fault::on(Route::RestoreToPayg).acted(true).answer(Answer::reset()));
//! // ... let the code under test run against sim.url() ...
//! assert!(sim.world(|w| w.purchases_of(account).is_empty()));
//! assert_eq!(sim.unfired().len(), 1);
//! ```

#![allow(
    clippy::result_large_err,
    reason = "a refusal is a problem document, made a few times per test"
)]

mod account;
mod admin;
mod announced;
mod answers;
mod backstage;
mod backup;
mod body;
mod clock;
mod config;
mod faults;
mod gates;
mod http;
mod ids;
mod in_process;
mod invoice;
mod job;
mod ledger;
mod legacy;
mod life;
mod log;
mod options;
mod overwrite;
mod problem;
mod reads;
mod resize;
mod restore;
mod routes;
mod server;
mod sim;
mod timers;
mod vps;
mod wire;
mod world;

pub use account::{
    Access, Account, AccountId, ActionGate, Key, LimitSet, Pricing, RateLimit, default_scopes,
};
pub use announced::{Announced, Listener};
pub use answers::{Answer, RateLimitStyle};
pub use backstage::Backstage;
pub use backup::{BackupBehaviour, BackupOutcome, Listed, NoteAs};
pub use clock::Clock;
pub use config::{Additional, Apply, ConfigBehaviour};
pub use faults::Fault;
pub use gates::{Gate, Stage};
pub use in_process::{Call, Heard, InProcess};
pub use invoice::Invoice;
pub use job::{Job, JobForget, JobKind, JobPhase, JobResult, JobShape, JobView};
pub use ledger::{
    BackupMade, ConfigPurchase, LegacyPurchase, OptionChange, Overwrite, PriceChange, Purchase, PurchaseKind,
    ResizePurchase,
};
pub use legacy::{
    CurrencyAs, EstimateSays, IdAs, LEGACY_CARD, LEGACY_EMAIL, LEGACY_PASSWORD, LEGACY_PHONE,
    LEGACY_RESET_TOKEN, LEGACY_SECRETS, LegacyBehaviour, LegacyOption, MoneyAs, standard_legacy_options,
};
pub use log::{Auth, Connection, Finish, Keep, RequestRecord};
pub use options::{ConfigOption, CurrentAs, OptionKind, OptionValue, standard_options};
pub use overwrite::{OverwriteBehaviour, OverwriteOutcome};
pub use resize::ResizeBehaviour;
pub use restore::{Boots, NameAs, Outcome, RestoreBehaviour};
pub use routes::Route;
pub use rust_decimal::Decimal;
pub use sim::{Sim, SimHandle};
pub use vps::{Backup, Billing, Content, Convert, OperatingSystem, Resources, Vps};
pub use wire::Json;
pub use world::{BlockersAt, Oddities, SOURCE_BACKUP, SOURCE_VPS, SizeGbAs, World};

/// An exact decimal from its text, for prices and sizes: `dec("0.12")`.
///
/// # Panics
/// If the text is no decimal number.
#[must_use]
pub fn dec(text: &str) -> Decimal {
    text.parse().expect("a decimal number")
}
