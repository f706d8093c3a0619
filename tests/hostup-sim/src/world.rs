//! What the simulated provider knows. Tests read and change it under a lock.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use crate::account::{Access, Account, AccountId, ActionGate, Key, LimitSet, Pricing, default_scopes};
use crate::backup::BackupBehaviour;
use crate::clock::Clock;
use crate::config::ConfigBehaviour;
use crate::faults::ArmedFault;
use crate::gates::ArmedGate;
use crate::ids::Ids;
use crate::invoice::{Invoice, Until, Waiting};
use crate::job::Job;
use crate::ledger::Purchase;
use crate::legacy::{LegacyBehaviour, standard_legacy_options};
use crate::life::Left;
use crate::log::{Auth, Connection, Keep, Log};
use crate::options::standard_options;
use crate::overwrite::OverwriteBehaviour;
use crate::resize::ResizeBehaviour;
use crate::restore::RestoreBehaviour;
use crate::routes::Route;
use crate::vps::{Backup, Content, Vps};
use crate::wire::Json;

/// Id of the standard source VPS of the first account (the id of every example).
pub const SOURCE_VPS: &str = "vps_01hxa3b4c5d6e7f8g9h0j1k2m3";
/// Id of its backup.
pub const SOURCE_BACKUP: &str = "bkp_01hxa3b4c5d6e7f8g9h0j1k2m3";

/// Where a refusal carries `blockerReasons` (the two texts of the convert page differ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BlockersAt {
    /// Beside `code`.
    #[default]
    TopLevel,
    /// Under `extensions`.
    Extensions,
    /// In both places.
    Both,
    /// Only in the text.
    DetailOnly,
}

/// How `sizeGb` of a backup is written (a number in the list, an integer in restore-sources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SizeGbAs {
    /// As set.
    #[default]
    Set,
    /// Rounded up to a whole number.
    Integer,
    /// With three more decimals.
    Fraction,
}

/// Oddities of good answers. The lists name the routes; [`Route::Any`] means all.
#[derive(Clone, Debug, Default)]
pub struct Oddities {
    /// `null` in every nullable place.
    pub nulls: Vec<Route>,
    /// A member that no page knows in every object.
    pub extra_fields: Vec<Route>,
    /// An unknown word in every enum (but `running`, and the words that end a job).
    pub unknown_words: Vec<Route>,
    /// How backup sizes are written.
    pub size_gb: SizeGbAs,
}

type Hook = (Route, u32, Option<Box<dyn FnOnce(&mut World) + Send>>);

/// The simulated provider.
pub struct World {
    /// `limit` of the VPS list if the request has none.
    pub page_size: usize,
    /// No page is longer than this, whatever `limit` says: forces several pages.
    pub page_cap: Option<usize>,
    /// How restores go.
    pub restore: RestoreBehaviour,
    /// How changes of options go.
    pub config: ConfigBehaviour,
    /// How legacy upgrades go.
    pub legacy: LegacyBehaviour,
    /// How resizes go.
    pub resize: ResizeBehaviour,
    /// How restores onto an existing VPS go.
    pub overwrite: OverwriteBehaviour,
    /// How new backups go.
    pub backup: BackupBehaviour,
    /// Refuse a call whose gates are closed. False: it is executed all the same.
    pub enforce_gates: bool,
    /// A job closes the gates of its VPS while it is at work.
    pub jobs_close_gates: bool,
    /// Names are 3 to 63 letters, digits, hyphens (the deploy page's rule; assumed here).
    pub strict_names: bool,
    /// Least `storageGb` of a restore whatever the source (1 by its page; 50 by the deploy page).
    pub storage_floor: u32,
    /// 404s say `vps_not_found` and `backup_not_found` instead of `not_found`.
    pub specific_not_found: bool,
    /// Where refusals carry `blockerReasons`.
    pub blockers_at: BlockersAt,
    /// A scope that polling a job needs (no page names one).
    pub job_scope: Option<String>,
    /// Oddities of good answers.
    pub odd: Oddities,
    /// Rows of the VPS list carry gates too; its page says that they are not there.
    pub gates_in_list: bool,
    /// Serve the admin API under `/_sim/`.
    pub admin: bool,
    /// What is kept of the requests from now on.
    pub keep: Keep,
    /// By how much this world is ahead of its clock ([`World::advance`]).
    ahead: Duration,
    pub(crate) clock: Clock,
    /// The jobs, oldest first.
    pub jobs: Vec<Job>,
    pub(crate) next_restores: VecDeque<RestoreBehaviour>,
    pub(crate) next_configs: VecDeque<ConfigBehaviour>,
    pub(crate) next_legacy: VecDeque<LegacyBehaviour>,
    pub(crate) next_resizes: VecDeque<ResizeBehaviour>,
    pub(crate) next_overwrites: VecDeque<OverwriteBehaviour>,
    pub(crate) next_backups: VecDeque<BackupBehaviour>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) invoices: Vec<Invoice>,
    pub(crate) cancelled: Vec<Invoice>,
    pub(crate) needless_cancellations: Vec<usize>,
    pub(crate) legacy_orders: u64,
    pub(crate) patches: Vec<(Route, String, Option<Json>)>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) ledger: Vec<Purchase>,
    pub(crate) log: Log,
    pub(crate) connections: Vec<Connection>,
    pub(crate) faults: Vec<ArmedFault>,
    pub(crate) gates: Vec<ArmedGate>,
    pub(crate) left: Vec<Left>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) ids: Ids,
    pub(crate) addresses: u32,
    keys_made: u32,
}

impl std::fmt::Debug for World {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("World")
            .field("accounts", &self.accounts)
            .field("jobs", &self.jobs)
            .field("ledger", &self.ledger)
            .field("log", &self.log.records())
            .finish_non_exhaustive()
    }
}

impl Default for World {
    fn default() -> World {
        World::new(Clock::of_the_machine(), 0)
    }
}

impl World {
    /// An empty world. Its ids follow from the seed and the order of events alone.
    #[must_use]
    pub fn new(clock: Clock, seed: u64) -> World {
        World {
            page_size: 20,
            page_cap: None,
            restore: RestoreBehaviour::default(),
            config: ConfigBehaviour::default(),
            legacy: LegacyBehaviour::default(),
            resize: ResizeBehaviour::default(),
            overwrite: OverwriteBehaviour::default(),
            backup: BackupBehaviour::default(),
            enforce_gates: true,
            jobs_close_gates: true,
            strict_names: true,
            storage_floor: 1,
            specific_not_found: false,
            blockers_at: BlockersAt::default(),
            job_scope: None,
            odd: Oddities::default(),
            gates_in_list: false,
            admin: false,
            keep: Keep::default(),
            ahead: Duration::ZERO,
            clock,
            jobs: Vec::new(),
            next_restores: VecDeque::new(),
            next_configs: VecDeque::new(),
            next_legacy: VecDeque::new(),
            next_resizes: VecDeque::new(),
            next_overwrites: VecDeque::new(),
            next_backups: VecDeque::new(),
            waiting: Vec::new(),
            invoices: Vec::new(),
            cancelled: Vec::new(),
            needless_cancellations: Vec::new(),
            legacy_orders: 0,
            patches: Vec::new(),
            accounts: Vec::new(),
            ledger: Vec::new(),
            log: Log::default(),
            connections: Vec::new(),
            faults: Vec::new(),
            gates: Vec::new(),
            left: Vec::new(),
            hooks: Vec::new(),
            ids: Ids::new(seed),
            addresses: 9,
            keys_made: 0,
        }
    }

    // ---- accounts and keys ----------------------------------------------------------------

    /// An account with the standard source VPS (2 cores, 4 GB, 80 GB, fixed, one backup of
    /// 12.4 GB, the [`standard_options`], the [`standard_legacy_options`]), the example prices, and a
    /// key of this text with all the scopes needed. The first account's VPS and backup are
    /// [`SOURCE_VPS`] and [`SOURCE_BACKUP`], its legacy number is 10000; later ones get fresh ids,
    /// and the numbers after it.
    pub fn add_account(&mut self, key: &str) -> AccountId {
        let first = self.vps(SOURCE_VPS).is_none();
        let id = self.add_empty_account(key);
        let (vps, backup) = if first {
            (SOURCE_VPS.to_owned(), SOURCE_BACKUP.to_owned())
        } else {
            (self.ids.next("vps"), self.ids.next("bkp"))
        };
        let source = Vps::fixed(&vps, "app-01", 2, 4, 80)
            .with_backup(Backup::new(&backup, "12.4"))
            .with_options(standard_options())
            .with_legacy(10_000 + id.0 as u64, standard_legacy_options());
        self.add_vps(id, source);
        id
    }

    /// An account without any VPS.
    pub fn add_empty_account(&mut self, key: &str) -> AccountId {
        let id = AccountId(self.accounts.len());
        self.accounts.push(Account {
            id,
            keys: Vec::new(),
            vps: Vec::new(),
            retained: Vec::new(),
            pricing: Pricing::default(),
            regions: vec!["stockholm".to_owned()],
            default_region: "stockholm".to_owned(),
            limits_max: LimitSet::new(16, 64, 1000, 10),
            limits_base: LimitSet::new(0, 0, 0, 0),
            access: Access::default(),
            blockers: Vec::new(),
            can_deploy: ActionGate::open(),
            rate_limit: None,
            window: None,
        });
        self.add_key(id, key);
        id
    }

    /// One more key with all the scopes needed; returns its name.
    pub fn add_key(&mut self, account: AccountId, key: &str) -> String {
        let scopes = default_scopes();
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        self.add_key_with_scopes(account, key, &scopes)
    }

    /// One more key with these scopes; returns its name.
    pub fn add_key_with_scopes(&mut self, account: AccountId, key: &str, scopes: &[&str]) -> String {
        self.keys_made += 1;
        let name = format!("key{}", self.keys_made);
        self.account_mut(account).keys.push(Key {
            name: name.clone(),
            secret: key.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            active: true,
        });
        name
    }

    /// The old key stops working, the new one has its scopes.
    ///
    /// # Panics
    /// If no account has the old key.
    pub fn rotate_key(&mut self, old: &str, new: &str) {
        let scopes = self.key_mut(old).scopes.clone();
        let account = self
            .accounts
            .iter()
            .find(|account| account.keys.iter().any(|key| key.secret == old))
            .map(Account::id)
            .expect("the key was just found");
        self.revoke_key(old);
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        self.add_key_with_scopes(account, new, &scopes);
    }

    /// The key stops working.
    ///
    /// # Panics
    /// If no account has it.
    pub fn revoke_key(&mut self, key: &str) {
        self.key_mut(key).active = false;
    }

    /// A revoked key works again.
    ///
    /// # Panics
    /// If no account has it.
    pub fn reinstate_key(&mut self, key: &str) {
        self.key_mut(key).active = true;
    }

    /// A key, by its text.
    ///
    /// # Panics
    /// If no account has it.
    pub fn key_mut(&mut self, key: &str) -> &mut Key {
        self.accounts
            .iter_mut()
            .flat_map(|account| &mut account.keys)
            .find(|own| own.secret == key)
            .expect("an account with this key")
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: AccountId) -> &Account {
        &self.accounts[id.0]
    }

    /// An account, to change.
    pub fn account_mut(&mut self, id: AccountId) -> &mut Account {
        &mut self.accounts[id.0]
    }

    // ---- VPSs and backups -----------------------------------------------------------------

    /// Adds a VPS at the end of the account's list.
    pub fn add_vps(&mut self, account: AccountId, vps: Vps) {
        self.account_mut(account).vps.push(vps);
    }

    /// Adds so many running VPSs on fixed plans, named `filler-1`, ...: for long lists.
    pub fn add_fillers(&mut self, account: AccountId, count: usize) {
        for number in 1..=count {
            let id = self.ids.next("vps");
            let mut vps = Vps::fixed(&id, &format!("filler-{number}"), 1, 1, 10);
            vps.primary_ip = None;
            self.add_vps(account, vps);
        }
    }

    /// A VPS of any account, by id.
    #[must_use]
    pub fn vps(&self, id: &str) -> Option<&Vps> {
        let mut all = self.accounts.iter().flat_map(|account| &account.vps);
        all.find(|vps| vps.id == id)
    }

    /// A VPS of any account, to change.
    pub fn vps_mut(&mut self, id: &str) -> Option<&mut Vps> {
        self.accounts
            .iter_mut()
            .flat_map(|account| &mut account.vps)
            .find(|vps| vps.id == id)
    }

    /// All VPSs of an account that bear a name (any case), visible or not.
    #[must_use]
    pub fn vps_named(&self, account: AccountId, name: &str) -> Vec<&Vps> {
        self.account(account)
            .vps
            .iter()
            .filter(|vps| vps.name.eq_ignore_ascii_case(name))
            .collect()
    }

    /// Removes a VPS, as a person at the panel would; says whether it was there.
    pub fn remove_vps(&mut self, id: &str) -> bool {
        let mut removed = false;
        for account in &mut self.accounts {
            let before = account.vps.len();
            account.vps.retain(|vps| vps.id != id);
            removed |= account.vps.len() != before;
        }
        removed
    }

    /// The VPS is terminated: it is gone, but its backups are retained, so that they can be restored
    /// onto another one.
    ///
    /// # Panics
    /// If there is no such VPS.
    pub fn terminate_vps(&mut self, id: &str) {
        let has = |account: &&mut Account| account.vps.iter().any(|vps| vps.id == id);
        let account = self.accounts.iter_mut().find(has).expect("a VPS");
        let place = account.vps.iter().position(|vps| vps.id == id);
        let mut vps = account.vps.remove(place.expect("it was just found"));
        "terminated".clone_into(&mut vps.service_status);
        account.retained.push(vps);
    }

    /// Whether the list shows a VPS by now.
    #[must_use]
    pub fn lists(&self, id: &str) -> bool {
        let mut all = self.accounts.iter().flat_map(|own| &own.vps);
        let is_late = |vps: &Vps| vps.birth.as_ref().is_some_and(|birth| birth.list_lag > 0);
        all.any(|vps| vps.id == id && vps.visible(self.now()) && !is_late(vps))
    }

    /// Adds a backup to a VPS.
    ///
    /// # Panics
    /// If there is no such VPS.
    pub fn add_backup(&mut self, vps: &str, backup: Backup) {
        self.vps_mut(vps).expect("a VPS").backups.push(backup);
    }

    /// Removes a backup from whatever VPS has it; says whether one had.
    pub fn remove_backup(&mut self, id: &str) -> bool {
        let mut removed = false;
        for vps in self.accounts.iter_mut().flat_map(|own| &mut own.vps) {
            let before = vps.backups.len();
            vps.backups.retain(|backup| backup.id != id);
            removed |= vps.backups.len() != before;
        }
        removed
    }

    // ---- behaviour ------------------------------------------------------------------------

    /// The time by this world's clock: what jobs, new VMs and rate limits go by.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now() + self.ahead
    }

    /// The wall clock, which [`World::advance`] leaves alone: what answers are dated by.
    pub(crate) fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    /// Puts the clock forward: jobs get on, VMs appear and boot, late values are set, rate limit
    /// windows end, without anyone waiting.
    pub fn advance(&mut self, by: Duration) {
        self.ahead += by;
        self.settle();
    }

    /// How the next restore goes that is executed; called twice, the one after it, and so on.
    pub fn restore_next(&mut self, behaviour: RestoreBehaviour) {
        self.next_restores.push_back(behaviour);
    }

    /// From now on every good answer of the route has this JSON text at the pointer (`None`:
    /// nothing there). `*` in the pointer means every member of an array.
    ///
    /// # Panics
    /// If the text is not JSON.
    pub fn patch(&mut self, route: Route, pointer: &str, text: Option<&str>) {
        self.patches
            .push((route, pointer.to_owned(), text.map(Json::raw)));
    }

    /// Takes all patches back.
    pub fn clear_patches(&mut self) {
        self.patches.clear();
    }

    /// A job, by id.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// A job, to change.
    pub fn job_mut(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    /// Ends a job now and well; its VM is visible and runs from now on, if it boots at all. A disk that it
    /// overwrites holds the backup, and a backup that it makes is there.
    ///
    /// # Panics
    /// If there is no such job.
    pub fn finish_job(&mut self, id: &str) {
        let now = self.now();
        let job = self.job_mut(id).expect("a job");
        job.complete(now);
        let made = job.vps_id.clone();
        let target = job.target.clone().filter(|_| job.kind.overwrites());
        if let Some(down) = target.and_then(|vps| self.vps_mut(&vps)?.down.as_mut()) {
            let up_at = down.up_at.map_or(now, |at| at.min(now));
            down.up_at = down.comes_up.then_some(up_at);
        }
        let birth = made.and_then(|vps| self.vps_mut(&vps)?.birth.as_mut());
        if let Some(birth) = birth {
            birth.visible_at = birth.visible_at.min(now);
            birth.running_at = birth.running_at.map(|at| at.min(now));
        }
        self.settle();
    }

    /// Ends a job now and badly; its VM, if there is one, goes on as it was. With a torn disk a VPS does
    /// not come up.
    ///
    /// # Panics
    /// If there is no such job.
    pub fn fail_job(&mut self, id: &str) {
        let now = self.now();
        let job = self.job_mut(id).expect("a job");
        job.fail(now);
        let target = job.target.clone().filter(|_| job.kind.overwrites());
        self.settle();
        if let Some(vps) = target.and_then(|vps| self.vps_mut(&vps))
            && vps.content == Content::Torn
            && let Some(down) = &mut vps.down
        {
            down.up_at = None;
        }
    }

    /// A VM that was bought here, or whose disk was overwritten, runs from now on, with an IP, even if it
    /// was never to boot.
    ///
    /// # Panics
    /// If there is no such VPS.
    pub fn boot(&mut self, vps: &str) {
        let now = self.now();
        let vps = self.vps_mut(vps).expect("a VPS");
        if vps.down.take().is_some() {
            vps.power_state = Some("running".to_owned());
        }
        if let Some(birth) = &mut vps.birth {
            birth.visible_at = birth.visible_at.min(now);
            birth.running_at = Some(now);
            birth.ip.get_or_insert_with(|| "198.51.100.250".to_owned());
        }
    }

    // ---- what happened --------------------------------------------------------------------

    /// The ledger.
    #[must_use]
    pub fn purchases(&self) -> &[Purchase] {
        &self.ledger
    }

    /// The ledger of one account.
    #[must_use]
    pub fn purchases_of(&self, account: AccountId) -> Vec<&Purchase> {
        self.ledger
            .iter()
            .filter(|purchase| purchase.account == account)
            .collect()
    }

    /// The lines of the ledger that overwrote the disk of a VPS.
    #[must_use]
    pub fn overwrites_of(&self, vps: &str) -> Vec<&Purchase> {
        let overwrites = |line: &&Purchase| line.overwrite.as_ref().is_some_and(|own| own.target == vps);
        self.ledger.iter().filter(overwrites).collect()
    }

    /// All TCP connections, also those without a request.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// Faults, gates and hooks that never came to anything.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        let faults = self.faults.iter().filter_map(ArmedFault::unfired);
        let gates = self.gates.iter().filter_map(ArmedGate::unfired);
        let hooks = self
            .hooks
            .iter()
            .filter(|(_, _, hook)| hook.is_some())
            .map(|(route, skip, _)| format!("hook after {route:?} (skip {skip})"));
        let behaviours = [
            (self.next_restores.len(), "restore", "restore"),
            (self.next_configs.len(), "config", "commit"),
            (self.next_legacy.len(), "legacy", "legacy call"),
            (self.next_resizes.len(), "resize", "resize"),
            (self.next_overwrites.len(), "overwrite", "restore onto a VPS"),
            (self.next_backups.len(), "backup", "new backup"),
        ];
        let behaviours = behaviours
            .into_iter()
            .filter(|(left, ..)| *left > 0)
            .map(|(left, what, call)| format!("{left} {what} behaviour(s) that no {call} used"));
        faults.chain(gates).chain(hooks).chain(behaviours).collect()
    }

    // ---- for the server -------------------------------------------------------------------

    /// How long it is until an answer changes by itself.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        let now = self.now();
        let jobs = self.jobs.iter().filter_map(|job| job.next_event(now));
        let births = self
            .accounts
            .iter()
            .flat_map(|account| &account.vps)
            .filter_map(|vps| vps.birth.as_ref())
            .flat_map(|birth| [Some(birth.visible_at), birth.running_at])
            .flatten()
            .filter(|at| *at > now);
        let values = self.waiting.iter().filter_map(|waiting| match waiting.until {
            Until::Time(at) => Some(at),
            Until::Written { at, .. } => at,
            Until::Paid(_) => None,
        });
        let all = self.accounts.iter().flat_map(|account| &account.vps);
        let ups = all.filter_map(|vps| vps.down.as_ref()?.up_at.filter(|at| *at > now));
        let next = jobs.chain(births).chain(values).chain(ups).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Whose key a text is.
    pub(crate) fn auth_of(&self, secret: &str) -> Auth {
        let mut revoked = None;
        for account in &self.accounts {
            for key in account.keys.iter().filter(|key| key.secret == secret) {
                let (account, name) = (account.id, key.name.clone());
                if key.active {
                    return Auth::Key { account, key: name };
                }
                revoked = Some(Auth::RevokedKey { account, key: name });
            }
        }
        revoked.unwrap_or(Auth::UnknownKey)
    }

    /// The texts of all keys there ever were.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let keys = self.accounts.iter().flat_map(|account| &account.keys);
        keys.map(|key| key.secret.as_str())
    }

    pub(crate) fn run_hooks(&mut self, route: Route) {
        let mut due = Vec::new();
        for (filter, skip, hook) in &mut self.hooks {
            if route.is_in(*filter) && hook.is_some() {
                if *skip == 0 {
                    due.extend(hook.take());
                } else {
                    *skip -= 1;
                }
            }
        }
        self.hooks.retain(|(_, _, hook)| hook.is_some());
        for hook in due {
            hook(self);
        }
    }
}
