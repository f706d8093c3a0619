//! One life: a world drawn from a seed, a storm, and the calm after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use hostup_sim::{
    AccountId, Apply, Backup, BackupBehaviour, BackupOutcome, InProcess, Keep, Listed, NoteAs, Outcome,
    OverwriteBehaviour, OverwriteOutcome, ResizeBehaviour, RestoreBehaviour, Vps, World, standard_options,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::body::BEGINNING;
use crate::cluster::{ApiServer, InFlight, Kind, StreamedLists};
use crate::dice::Dice;
use crate::field::{at, text};
use crate::judge::{Judge, is_final, state_of, vm_of_call};
use crate::met::{BEFORE_THE_CLAIM, Met, STANDINGS};
use crate::people::{self, NAMESPACE, OPERATORS_NAMESPACE, PERSON, People};
use crate::process::{Process, Site};
use crate::story::Story;
use crate::troubles::Troubles;
use crate::weather::{Requests, Weather};

/// Makes another seed of a life's, for the holds.
const HOLDS: u64 = 0x686f_6c64;
/// The same, for the budget.
const BUDGETS: u64 = 0x6275_6467;
/// The same, for who cancels VMs.
const CANCELLATIONS: u64 = 0x656e_6473;
/// The same, for sizes and overwrites.
const CHANGES: u64 = 0x7369_7a65;
/// The same, for backups before changes.
const BACKUPS: u64 = 0x6261_636b;
/// The same, for the troubles of accounts; the lives that were bad once have none, and none of what follows.
const TROUBLES: u64 = 0x6f6f_6666;
/// The same, for clocks that are set.
const CLOCKS: u64 = 0x6265_7267;
/// The same, for answers in error.
const ERRORS: u64 = 0x6c75_636b;
/// The same, for prices that change.
const PRICES: u64 = 0x7061_6374;
/// So many objects that overwrite a VPS.
const MOST_OVERWRITES: u32 = 3;
/// Between two steps.
const STEP: Duration = Duration::from_millis(250);
/// What is stalled for these reasons goes on once the storm is over, or once somebody answers.
const ENDS: [&str; 8] = [
    "OutcomeUnknown",
    "ClusterRefuses",
    "NotConverged",
    "Unauthorized",
    "VpsNotFound",
    "AccountMismatch",
    "OtherInstance",
    "InvalidSpec",
];
/// How long the calm may last until everything has come to rest: a clock that is late ends a job late.
const LONGEST_CALM: Duration = Duration::from_secs(30 * 60);

/// What came of a life.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its seed.
    pub seed: u64,
    /// What was wrong; empty for a good life.
    pub wrong: Vec<String>,
    /// Its story, if it was kept.
    pub story: Vec<String>,
    /// A hash of its story, if that was kept.
    pub digest: String,
    /// Which faults came, and where purchases stood then.
    pub met: Met,
    /// Calls that HostUp executed.
    pub purchases: usize,
    /// The same, by their kind.
    pub executed: BTreeMap<String, usize>,
    /// How often a person was asked.
    pub questions: u64,
    /// Questions though nothing had gone wrong that could leave an outcome open.
    pub needless: u64,
    /// Calls that left after their record was settled, because the process was paused within its second look.
    pub unknowing: usize,
    /// How long it lasted, in virtual time.
    pub lasted: Duration,
}

/// Lives one life, in a thread of its own: what a thread remembers of chance is new there.
pub fn live(seed: u64, keeps_story: bool) -> Ended {
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    let life = thread.spawn(move || {
        // The waits of kube's watches are drawn from it.
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        let ended = runtime.block_on(lived(seed, keeps_story));
        runtime.shutdown_background();
        ended
    });
    let joined = life.expect("a thread").join();
    joined.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        Ended {
            seed,
            wrong: vec![format!("it panicked: {}", why.unwrap_or_default())],
            story: Vec::new(),
            digest: String::new(),
            met: Met::default(),
            purchases: 0,
            executed: BTreeMap::new(),
            questions: 0,
            needless: 0,
            unknowing: 0,
            lasted: Duration::ZERO,
        }
    })
}

fn wall(began: Instant) -> Timestamp {
    BEGINNING + SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX)
}

/// The accounts of a life, with what they have; and whether every restore ends well.
fn hostup(dice: &Dice, changes: Option<&Dice>, began: Instant) -> (InProcess, Vec<AccountId>, bool) {
    let clock = hostup_sim::Clock::told_by(move || (SystemTime::from(wall(began)), began.elapsed()));
    let hostup = InProcess::new(World::new(clock, u64::from(dice.below(u32::MAX))));
    let (accounts, ends_well) = hostup.world(|world| {
        world.keep = Keep::Counts;
        let mut accounts = Vec::new();
        for n in 0..2 {
            let account = world.add_empty_account(&key_of(n));
            accounts.push(account);
            let mut vps = Vps::fixed(&vps_of(n), "web", 2, 4, 80).with_options(standard_options());
            vps =
                vps.with_backup(Backup::new(&backup_of(n), "12.4").created(Some("2026-11-20T03:00:00.000Z")));
            world.add_vps(account, vps);
            if changes.is_some() {
                add_targets(world, account, n);
            }
        }
        world.restore = restores(dice);
        let mut all_end_well = ends_well(&world.restore);
        for _ in 0..4 {
            let next = restores(dice);
            all_end_well &= ends_well(&next);
            world.restore_next(next);
        }
        let all_end_well = all_end_well && changes.is_none_or(|dice| draw_changes(world, dice));
        (accounts, all_end_well)
    });
    (hostup, accounts, ends_well)
}

/// What is resized and overwritten, and backups for each object that overwrites: which call was executed is told by what
/// it restores.
fn add_targets(world: &mut World, account: AccountId, n: u32) {
    world.add_vps(account, Vps::payg(&vm_of(n), "cloud", 2, 4, 80));
    if let Some(source) = world.vps_mut(&vps_of(n)) {
        let backups = (0..MOST_OVERWRITES).map(backup_to_overwrite_with);
        source.backups.extend(backups.map(|id| {
            let backup = Backup::new(&id, "12.4");
            backup.created(Some("2026-11-20T03:00:00.000Z"))
        }));
    }
}

/// Returns whether every one ends well.
fn draw_changes(world: &mut World, dice: &Dice) -> bool {
    world.jobs_close_gates = dice.happens(500);
    let mut all_end_well = true;
    for _ in 0..4 {
        let outcome = match dice.below(20) {
            0 => OverwriteOutcome::FailsUntouched,
            1 => OverwriteOutcome::FailsTorn,
            2 => OverwriteOutcome::FailsWritten,
            3 => OverwriteOutcome::NeverEnds,
            _ => OverwriteOutcome::Completes,
        };
        world.overwrite_next(OverwriteBehaviour {
            job_duration: dice.between(Duration::from_millis(500), Duration::from_secs(8)),
            power_state: dice.happens(700).then(|| "stopped".to_owned()),
            ..OverwriteBehaviour::ending(outcome)
        });
        let apply = match dice.below(10) {
            0 => Apply::Never,
            1..4 => Apply::After(dice.millis(4_000)),
            _ => Apply::Now,
        };
        all_end_well &= outcome == OverwriteOutcome::Completes && apply != Apply::Never;
        world.resize_next(ResizeBehaviour::applied(apply));
    }
    all_end_well
}

/// Returns whether every one ends well.
fn draw_backups(world: &mut World, dice: &Dice) -> bool {
    for vps in (0..2).flat_map(|n| [vps_of(n), vm_of(n)]) {
        if let Some(vps) = world.vps_mut(&vps) {
            vps.backup_quota = None;
        }
    }
    let mut all_end_well = true;
    for _ in 0..6 {
        let outcome = match dice.below(20) {
            0 => BackupOutcome::FailsWithBackup,
            1 => BackupOutcome::FailsWithoutBackup,
            2 => BackupOutcome::NeverEnds,
            _ => BackupOutcome::Completes,
        };
        let loses_its_note = dice.happens(30);
        world.backup_next(BackupBehaviour {
            job_duration: dice.between(Duration::from_millis(500), Duration::from_secs(8)),
            listed: dice.one(&[Listed::WhenMade, Listed::AtOnce]),
            list_lag: dice.below(4),
            note_as: if loses_its_note {
                NoteAs::Null
            } else {
                NoteAs::Sent
            },
            ..BackupBehaviour::ending(outcome)
        });
        all_end_well &= outcome == BackupOutcome::Completes && !loses_its_note;
    }
    all_end_well
}

fn key_of(account: u32) -> String {
    format!("key-of-account-{account}")
}

fn vps_of(account: u32) -> String {
    format!("vps_source{account}")
}

fn vm_of(account: u32) -> String {
    format!("vps_cloud{account}")
}

fn backup_to_overwrite_with(number: u32) -> String {
    format!("bkp_to_overwrite_with{number}")
}

fn backup_of(account: u32) -> String {
    format!("bkp_of_account{account}")
}

fn restores(dice: &Dice) -> RestoreBehaviour {
    let outcome = match dice.below(20) {
        0 => Outcome::FailsWithVm,
        1 => Outcome::FailsWithoutVm,
        2 => Outcome::NeverEnds,
        _ => Outcome::Completes,
    };
    RestoreBehaviour {
        job_duration: dice.between(Duration::from_millis(500), Duration::from_secs(8)),
        vm_visible_after: dice.millis(2_000),
        // Three reads that miss it, over the settle time, are its absence.
        list_lag: dice.one(&[0, 0, 0, 1, 2]),
        twin: dice.happens(10),
        ..RestoreBehaviour::ending(outcome)
    }
}

fn secrets(server: &ApiServer) {
    server.add_namespace(NAMESPACE).expect("a namespace can be made");
    server
        .add_namespace(OPERATORS_NAMESPACE)
        .expect("a namespace can be made");
    for n in 0..2 {
        let key = BASE64.encode(key_of(n).as_bytes());
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("hostup-{n}"), "namespace": NAMESPACE}, "data": {"api-key": key}});
        let made = server.create(PERSON, Kind::SECRET, NAMESPACE, secret);
        made.expect("a Secret can be made");
    }
}

fn wanted(dice: &Dice) -> Vec<people::Wanted> {
    let mut wanted = Vec::new();
    for n in 0..1 + dice.below(3) {
        let account = dice.below(2);
        wanted.push(people::restore(
            &format!("web-{n}"),
            &vps_of(account),
            &backup_of(account),
            &format!("hostup-{account}"),
            dice.happens(600),
        ));
    }
    for n in 0..dice.below(3) {
        let account = dice.below(2);
        wanted.push(people::config(
            &format!("options-{n}"),
            &vps_of(account),
            3072 + 1024 * dice.below(2),
            &format!("hostup-{account}"),
            dice.happens(600),
        ));
    }
    wanted
}

/// Sizes and overwrites, each at some place among the others.
fn add_changes(wanted: &mut Vec<people::Wanted>, dice: &Dice) {
    let mut add = |one| {
        let at = dice.below(u32::try_from(wanted.len()).unwrap_or(0) + 1) as usize;
        wanted.insert(at, one);
    };
    for n in 0..dice.below(3) {
        let account = dice.below(2);
        add(people::size(
            &format!("size-{n}"),
            &vm_of(account),
            (dice.one(&[1, 2, 4]), dice.one(&[4, 8])),
            &format!("hostup-{account}"),
            dice.happens(600),
        ));
    }
    for n in 0..1 + dice.below(MOST_OVERWRITES) {
        let account = dice.below(2);
        let target = dice.one(&[vm_of(account), vps_of(account)]);
        add(people::overwrite(
            &format!("overwrite-{n}"),
            &vps_of(account),
            &backup_to_overwrite_with(n),
            &target,
            &format!("hostup-{account}"),
        ));
    }
}

async fn lived(seed: u64, keeps_story: bool) -> Ended {
    let dice = Dice::new(seed);
    let began = Instant::now();
    let server = ApiServer::new(move || wall(began));
    let looked_at = server.clone();
    let story = Story::begin(keeps_story, move || standings(&looked_at));
    server.set_streamed_lists(dice.one(&[StreamedLists::On, StreamedLists::On, StreamedLists::Refused]));
    // Of its own, as those below.
    let changes = Dice::new(seed ^ CHANGES);
    let changes = changes.happens(400).then_some(changes);
    let backups = Dice::new(seed ^ BACKUPS);
    let backups = backups.happens(250).then_some(backups);
    let (hostup, accounts, mut is_tame) = hostup(&dice, changes.as_ref(), began);
    if let Some(dice) = &backups {
        is_tame &= hostup.world(|world| draw_backups(world, dice));
    }
    let weather = Weather::drawn(&dice);
    server.set_faults(Requests {
        weather: weather.clone(),
        dice: dice.fork(),
        story: story.clone(),
    });
    secrets(&server);
    let judge = Judge::new(server.clone(), hostup.clone(), story.clone());
    let site = Site {
        server: server.clone(),
        hostup: hostup.clone(),
        weather: weather.clone(),
        dice: dice.fork(),
        story: story.clone(),
        judge: judge.clone(),
        began,
        elects: dice.happens(500),
        cap: dice.happens(200).then(|| dice.below(3)),
    };
    let mut people = People {
        server: server.clone(),
        dice: dice.fork(),
        story: story.clone(),
        judge: judge.clone(),
        wanted: wanted(&dice),
        errors: Some(Dice::new(seed ^ ERRORS)).filter(|dice| dice.happens(150)),
    };
    if let Some(changes) = &changes {
        add_changes(&mut people.wanted, changes);
    }
    if let Some(backups) = &backups {
        people.back_up_first(backups);
    }
    // Of its own, so that lives without holds stay as they were.
    let holds = Dice::new(seed ^ HOLDS);
    let budgets = Dice::new(seed ^ BUDGETS);
    let cancellations = Dice::new(seed ^ CANCELLATIONS);
    let troubles = Dice::new(seed ^ TROUBLES);
    let clocks = Dice::new(seed ^ CLOCKS);
    let prices = Dice::new(seed ^ PRICES);
    let mut life = Life {
        budgets: budgets.happens(300).then_some(budgets),
        cancellations: cancellations.happens(200).then_some(cancellations),
        changes,
        troubles: troubles.happens(250).then(|| {
            let keys = (0..2).map(key_of).collect();
            Troubles::new(hostup.clone(), troubles, keys)
        }),
        holds: holds.happens(300).then_some(holds),
        clocks: clocks.happens(250).then_some(clocks),
        prices: prices.happens(150).then_some(prices),
        accounts,
        is_rough: dice.happens(700),
        meddles: dice.one(&[0, 50, 150, 300]),
        slots: 1 + dice.below(3),
        processes: Vec::new(),
        numbers: 0,
        people,
        dice,
        site,
    };
    if let Some(dice) = &life.budgets {
        life.people.set_budget(dice);
        // Two processes that look at the same time may each take what is left.
        life.site.judge.holds_against_budgets(life.slots == 1);
    }
    // Nor does one know of what another has just claimed.
    life.site.judge.holds_against_overlaps(life.slots == 1);
    life.site
        .judge
        .holds_against_a_cap(life.site.cap.filter(|_| life.slots == 1));
    life.storm().await;
    life.calm().await;
    judge.concludes();
    // They hold the story, and the story holds the server: nothing of a life would ever be freed.
    server.forget_faults();
    let mut executed = BTreeMap::new();
    for purchase in hostup.purchases() {
        *executed.entry(format!("{:?}", purchase.kind)).or_default() += 1;
    }
    let met = story.met();
    let harmless = met.faults().all(|fault| !leaves_an_outcome_open(fault));
    Ended {
        seed,
        wrong: judge.found(),
        story: story.lines(),
        digest: story.digest(),
        purchases: executed.values().sum(),
        executed,
        questions: judge.questions(),
        needless: if harmless && is_tame { judge.questions() } else { 0 },
        unknowing: judge.sent_unknowing(),
        lasted: began.elapsed(),
        met,
    }
}

/// Where purchases stand now.
fn standings(server: &ApiServer) -> BTreeSet<&'static str> {
    let records = server.list(Kind::OPERATION, None);
    let state = |record: &Value| {
        STANDINGS
            .into_iter()
            .find(|standing| *standing == state_of(record))
    };
    let mut standings: BTreeSet<_> = records.iter().filter_map(|record| state(record)).collect();
    let has_record = |object: &Value| {
        let uid = text(object, "/metadata/uid");
        records
            .iter()
            .any(|record| text(record, "/spec/subject/uid") == uid)
    };
    let objects = [Kind::RESTORE, Kind::CONFIG].into_iter();
    let mut objects = objects.flat_map(|kind| server.list(kind, None));
    if objects.any(|object| !has_record(&object)) {
        standings.insert(BEFORE_THE_CLAIM);
    }
    standings
}

/// Faults after which a person may have to be asked.
fn leaves_an_outcome_open(fault: &str) -> bool {
    fault.starts_with("hostup: ") || fault.starts_with("process: ") || fault.starts_with("api: ")
}

fn ends_well(restores: &RestoreBehaviour) -> bool {
    !restores.twin && restores.outcome == Outcome::Completes
}

struct Life {
    dice: Dice,
    site: Site,
    people: People,
    processes: Vec<Process>,
    /// So many are to run at a time.
    slots: u32,
    numbers: u32,
    /// Whether people hold purchases.
    holds: Option<Dice>,
    /// Whether there is a budget.
    budgets: Option<Dice>,
    /// Whether people cancel VMs.
    cancellations: Option<Dice>,
    /// Whether people want sizes and overwrites.
    changes: Option<Dice>,
    /// Whether accounts come into trouble.
    troubles: Option<Troubles>,
    /// Whether HostUp changes its prices.
    prices: Option<Dice>,
    /// The accounts at HostUp.
    accounts: Vec<AccountId>,
    /// Whether wall clocks are set.
    clocks: Option<Dice>,
    /// Whether processes crash and stand still.
    is_rough: bool,
    /// How often people do something, of a thousand steps.
    meddles: u32,
}

impl Life {
    fn start(&mut self) {
        self.numbers += 1;
        self.processes.push(Process::start(&self.site, self.numbers));
    }

    /// What has ended is replaced, as a ReplicaSet does.
    fn replace_the_dead(&mut self) {
        self.processes.retain(|process| !process.has_ended());
        while self.processes.len() < self.slots as usize {
            self.start();
        }
    }

    fn crash(&mut self) {
        if !self.is_rough || self.processes.is_empty() {
            return;
        }
        let count = u32::try_from(self.processes.len()).unwrap_or(1);
        let at = self.dice.below(count) as usize;
        let process = &self.processes[at];
        let story = &self.site.story;
        match self.dice.below(5) {
            0 => {
                let in_flight = self.dice.one(&[InFlight::Lands, InFlight::Lost]);
                story.fault("process: killed", || {
                    format!("process {at} of {count}, its requests {in_flight:?}")
                });
                process.kill(in_flight);
            }
            1 => {
                story.fault("process: stopped", || format!("process {at} of {count}"));
                process.stop();
            }
            2 if !process.body.stands_still() => {
                story.fault("process: stands still", || format!("process {at} of {count}"));
                process.freeze();
            }
            _ if process.body.stands_still() => {
                story.tell(|| format!("process {at} of {count} goes on"));
                process.thaw();
            }
            _ => {}
        }
    }

    /// HostUp changes what an hour of a core or a month of traffic costs. The highest prices exceed every ceiling.
    fn change_a_price(&self, dice: &Dice) {
        let (of_a_core, of_traffic) = (
            dice.one(&["0.10", "0.15", "9.00"]),
            dice.one(&["0.02", "0.03", "9.00"]),
        );
        let at = dice.below(2);
        self.site.hostup.world(|world| {
            let account = world.account_mut(self.accounts[at as usize]);
            account.pricing.cpu_per_core_hour = of_a_core.parse().ok();
            let options = world.vps_mut(&vps_of(at)).map(|vps| &mut vps.options);
            for option in options
                .into_iter()
                .flatten()
                .filter(|option| option.key == "bandwidthGb")
            {
                option.price = of_traffic.parse().unwrap_or_default();
            }
        });
        self.site.judge.knows_of_other_prices();
        self.site.story.tell(|| {
            format!("HostUp asks {of_a_core} for a core and {of_traffic} for traffic of account {at}")
        });
    }

    fn shake_the_cluster(&self) {
        if self.site.weather.watches > 0 && self.dice.happens(10) {
            self.site.story.fault("etcd: compacted", String::new);
            self.site.server.forget_history(0);
        }
        if self.site.weather.reads > 0 && self.dice.happens(5) {
            self.site.story.fault("hostup: away", String::new);
            self.site.hostup.go_down();
        } else if self.dice.happens(50) {
            self.site.hostup.come_up();
        }
    }

    async fn storm(&mut self) {
        let lasts = self.dice.between(Duration::from_secs(4), Duration::from_secs(20));
        let lasts = lasts + self.troubles.as_ref().map(Troubles::last).unwrap_or_default();
        let mut written = 0;
        while self.site.began.elapsed() < lasts {
            self.replace_the_dead();
            if written < self.people.wanted.len() && (written == 0 || self.dice.happens(300)) {
                self.people.begin(written);
                written += 1;
            }
            if self.dice.happens(self.meddles) {
                self.people.meddle();
            }
            if self.dice.happens(80) {
                self.people.answer();
            }
            if let Some(dice) = self.holds.as_ref().filter(|dice| dice.happens(60)) {
                self.people.hold(dice);
            }
            if let Some(dice) = self.budgets.as_ref().filter(|dice| dice.happens(20)) {
                if dice.happens(700) {
                    self.people.set_budget(dice);
                } else {
                    self.people.remove_budget();
                }
            }
            if let Some(dice) = self.cancellations.as_ref().filter(|dice| dice.happens(100)) {
                self.people.cancel_a_vm(dice);
            }
            if let Some(dice) = &self.changes {
                if dice.happens(200) {
                    self.people.approve_a_change(dice);
                }
                if dice.happens(20) {
                    self.people.rename_a_vps(dice);
                }
            }
            if let Some(troubles) = &mut self.troubles {
                troubles.turn(&self.site.story);
            }
            if let Some(dice) = self.prices.as_ref().filter(|dice| dice.happens(60)) {
                self.change_a_price(dice);
            }
            if let Some(dice) = self.clocks.as_ref().filter(|dice| dice.happens(60)) {
                dice.one(&self.processes.iter().collect::<Vec<_>>())
                    .set_clock(&self.site, dice);
            }
            if self.dice.happens(100) {
                self.crash();
            }
            self.shake_the_cluster();
            tokio::time::sleep(STEP).await;
            self.site.judge.looks();
        }
        for at in written..self.people.wanted.len() {
            self.people.begin(at);
        }
    }

    async fn calm(&mut self) {
        self.site.story.tell(|| "the storm is over".to_owned());
        self.site.weather.clears();
        self.site.hostup.come_up();
        if let Some(troubles) = &mut self.troubles {
            troubles.end(&self.site.story);
        }
        for process in &self.processes {
            process.thaw();
            if self.clocks.is_some() {
                process.set_clock_to(&self.site, SignedDuration::ZERO);
            }
        }
        let calm = Instant::now();
        let mut unrest = vec!["nothing was looked at".to_owned()];
        while !unrest.is_empty() {
            if calm.elapsed() > LONGEST_CALM {
                self.site
                    .judge
                    .finds(format!("it comes to no rest: {}", unrest.join("; ")));
                return;
            }
            self.replace_the_dead();
            self.people.help();
            if let Some(dice) = self.cancellations.as_ref().filter(|dice| dice.happens(200)) {
                self.people.cancel_a_vm(dice);
            }
            tokio::time::sleep(STEP * 8).await;
            self.site.judge.looks();
            unrest = self.unrest();
        }
    }

    /// What has not come to an end, and asks nobody.
    fn unrest(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        for record in self.site.server.list(Kind::OPERATION, None) {
            let is_told = at(&record, "/status/resultEnd").is_some();
            if !is_told && self.site.judge.is_cancelled(vm_of_call(&record)) {
                unrest.push(format!(
                    "record {} does not tell that its VM has ended",
                    text(&record, "/metadata/name")
                ));
            }
            if !is_final(state_of(&record)) {
                unrest.push(format!(
                    "record {} is {}",
                    text(&record, "/metadata/name"),
                    state_of(&record)
                ));
            }
        }
        for wanted in &self.people.wanted {
            let Some(object) = self.site.server.get(wanted.kind, NAMESPACE, &wanted.name) else {
                continue;
            };
            let (reason, is_done, is_stalled) = people::standing(&object);
            let asks = is_stalled && !ENDS.contains(&reason.as_str());
            if is_done
                && !self.people.wants_more_of_its_vps(wanted)
                && self.site.judge.lacks_what_it_wants(&object)
            {
                let (kind, name) = (wanted.kind.kind, &wanted.name);
                unrest.push(format!("{kind} {name} is ready, and HostUp shows something else"));
            }
            let is_capped = reason == "PaidCallCap";
            // Another object wanted other options for the VPS, while this one was suspended or held.
            let is_contested = reason == "Drifted" && self.people.wants_more_of_its_vps(wanted);
            // A job that HostUp never ends keeps the gates of its VPS closed.
            let is_barred =
                reason == "GatesClosed" && wanted.vpss().any(|vps| self.site.judge.is_busy_for_good(vps));
            if !is_done && !asks && !is_capped && !is_contested && !is_barred {
                let (kind, name, said) = (wanted.kind.kind, &wanted.name, people::message(&object));
                unrest.push(format!("{kind} {name} shows {reason:?}: {said}"));
            }
        }
        unrest
    }
}
