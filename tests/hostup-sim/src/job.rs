//! Jobs: how they advance, and how `GET /api/jobs/{jobId}` tells it.

use std::time::{Duration, Instant, SystemTime};

use crate::account::AccountId;
use crate::clock::iso;
use crate::wire::Json;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// `queued`
    Queued,
    /// `in_progress`
    InProgress,
    /// `completed`
    Completed,
    /// `failed`
    Failed,
}

impl JobPhase {
    /// The word of the operation envelope (restore-to-payg page, `operation.status`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            JobPhase::Queued => "queued",
            JobPhase::InProgress => "in_progress",
            JobPhase::Completed => "completed",
            JobPhase::Failed => "failed",
        }
    }

    fn ended(self) -> bool {
        matches!(self, JobPhase::Completed | JobPhase::Failed)
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Makes a Cloud VM out of a backup.
    RestoreToPayg,
    /// Overwrites a VPS with a backup of its own.
    Restore,
    /// Overwrites a VPS with a backup of another one.
    RestoreFromVps,
    /// Makes a backup of a VPS.
    CreateBackup,
}

impl JobKind {
    /// `type`, `jobName`, the part of `progressTextKey`, and the end of `progressMessage` (assumed; the
    /// jobs page shows a domain renewal).
    fn words(self) -> [&'static str; 4] {
        match self {
            JobKind::RestoreToPayg => [
                "restore-to-payg",
                "Restore backup to Cloud VM",
                "restore",
                "restored",
            ],
            JobKind::Restore => ["restore", "Restore VPS backup", "restore", "restored"],
            JobKind::RestoreFromVps => [
                "restore-from-vps",
                "Restore backup from another VPS",
                "restore",
                "restored",
            ],
            JobKind::CreateBackup => ["backup", "Create VPS backup", "backup", "backed up"],
        }
    }

    pub(crate) fn overwrites(self) -> bool {
        matches!(self, JobKind::Restore | JobKind::RestoreFromVps)
    }

    /// `jobType` of active-jobs (the words of its DELETE page). That a restore to a Cloud VM is no
    /// active job of its source is assumed.
    pub(crate) fn active_word(self) -> Option<&'static str> {
        match self {
            JobKind::RestoreToPayg => None,
            JobKind::Restore | JobKind::RestoreFromVps => Some("restore"),
            JobKind::CreateBackup => Some("backup"),
        }
    }
}

/// Where in the body the status stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum JobShape {
    /// Legacy envelope with both `data.status` and `data.state` (jobs page).
    #[default]
    Legacy,
    /// Legacy envelope, `data.state` only.
    StateOnly,
    /// Legacy envelope, `data.status` only.
    StatusOnly,
    /// `{"operation": {status, jobId, pollUrl, result}}` as in the 202.
    Operation,
    /// The members of `data` without an envelope.
    Bare,
}

/// When the provider no longer knows a job (404).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum JobForget {
    /// Never.
    #[default]
    Never,
    /// After so many answered polls; 0: at once.
    AfterPolls(u32),
    /// So long after the POST.
    After(Duration),
    /// As soon as it has ended.
    WhenEnded,
}

/// `data.result` of a completed job. No page shows one for a restore or a backup; that of a backup has
/// `backupId` instead of `vpsId`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum JobResult {
    /// The doubly nested form of the jobs page, `result.result.vpsId` naming the new VM.
    #[default]
    Nested,
    /// `null`
    Null,
    /// No such member.
    Absent,
    /// `{"vpsId": "vps_..."}`, the new VM.
    Flat,
    /// `{"vmId": 18211}`, a legacy number.
    NumericVmId,
    /// `{"vpsId": "vps_..."}`, but the source VPS.
    NamesSource,
    /// Any JSON text.
    Custom(String),
}

/// The switches of how a job is told.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Where the status stands.
    pub shape: JobShape,
    /// When it is forgotten.
    pub forget: JobForget,
    /// What a completed job says as its result.
    pub result: JobResult,
    /// Status word while it runs, instead of `in_progress`.
    pub running_word: Option<String>,
    /// Status word at its end, instead of `completed` or `failed`.
    pub end_word: Option<String>,
    /// `isCompleted` and `isFailed` say the opposite of the status.
    pub flags_contradict: bool,
    /// `data.error` of a failed job (seen in a client, on no page).
    pub error: String,
}

impl Default for JobView {
    fn default() -> JobView {
        JobView {
            shape: JobShape::default(),
            forget: JobForget::default(),
            result: JobResult::default(),
            running_word: None,
            end_word: None,
            flags_contradict: false,
            error: "Restore failed: storage node did not answer".to_owned(),
        }
    }
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// `job_...`
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// Whose it is.
    pub account: AccountId,
    /// The VPS whose backup is restored or made.
    pub source_vps: String,
    /// The VM that is made, if one is.
    pub vps_id: Option<String>,
    /// The VPS that it overwrites or backs up.
    pub target: Option<String>,
    /// The backup that it makes, or was to make.
    pub backup: Option<String>,
    /// How it is told.
    pub view: JobView,
    /// Polls that were answered 200.
    pub polls: u32,
    pub(crate) made_at: Instant,
    pub(crate) made: SystemTime,
    pub(crate) lasts: Duration,
    pub(crate) ends: bool,
    pub(crate) fails: bool,
    pub(crate) steps: u32,
}

impl Job {
    /// Where it stands at a moment. It is queued for the first tenth of its time.
    #[must_use]
    pub fn phase_at(&self, now: Instant) -> JobPhase {
        if self.ends && now >= self.made_at + self.lasts {
            if self.fails {
                JobPhase::Failed
            } else {
                JobPhase::Completed
            }
        } else if now >= self.started_at() {
            JobPhase::InProgress
        } else {
            JobPhase::Queued
        }
    }

    /// Progress in percent, in as many steps as were set; 100 only when completed.
    #[must_use]
    pub fn progress_at(&self, now: Instant) -> u32 {
        if self.phase_at(now) == JobPhase::Completed {
            return 100;
        }
        let steps = self.steps.max(1);
        let step = (1..steps).rev().find(|step| now >= self.step_at(*step));
        step.unwrap_or(0) * 100 / steps
    }

    pub(crate) fn complete(&mut self, now: Instant) {
        self.end(now, false);
    }

    pub(crate) fn fail(&mut self, now: Instant) {
        self.end(now, true);
    }

    fn end(&mut self, now: Instant, fails: bool) {
        self.lasts = now.saturating_duration_since(self.made_at);
        self.ends = true;
        self.fails = fails;
    }

    fn started_at(&self) -> Instant {
        self.made_at + self.lasts / 10
    }

    fn step_at(&self, step: u32) -> Instant {
        let running = self.lasts - self.lasts / 10;
        self.started_at() + running * step / self.steps.max(1)
    }

    /// The next moment at which an answer about it changes.
    pub(crate) fn next_event(&self, now: Instant) -> Option<Instant> {
        let steps = (1..self.steps.max(1)).map(|step| self.step_at(step));
        let end = self.ends.then(|| self.made_at + self.lasts);
        steps
            .chain([self.started_at()])
            .chain(end)
            .filter(|at| *at > now)
            .min()
    }

    pub(crate) fn forgotten(&self, now: Instant) -> bool {
        match self.view.forget {
            JobForget::Never => false,
            JobForget::AfterPolls(polls) => self.polls >= polls,
            JobForget::After(time) => now >= self.made_at + time,
            JobForget::WhenEnded => self.phase_at(now).ended(),
        }
    }

    /// `/api/jobs/{jobId}`: on the legacy side, not under `/api/v2` (restore-to-payg page).
    #[must_use]
    pub fn poll_url(&self) -> String {
        format!("/api/jobs/{}", self.id)
    }

    /// A row of active-jobs; its page is not stored, so that the shape is assumed.
    pub(crate) fn row(&self, now: Instant) -> Json {
        Json::object([
            ("jobId", (&self.id).into()),
            ("jobType", Json::word(self.kind.active_word().unwrap_or("other"))),
            ("status", Json::word(self.phase_at(now).word())),
            ("progress", self.progress_at(now).into()),
            ("createdAt", iso(self.made).into()),
        ])
    }

    /// Whether it is at work for ever.
    #[must_use]
    pub fn never_ends(&self) -> bool {
        !self.ends
    }

    /// Whether it is at work on this VPS, as gates and active-jobs see it.
    pub(crate) fn is_active_on(&self, vps: &str, now: Instant) -> bool {
        self.kind.active_word().is_some()
            && self.target.as_deref() == Some(vps)
            && !self.phase_at(now).ended()
    }

    /// The 202 body (restore-to-payg page).
    pub(crate) fn operation(id: &str, status: Json, result: Option<Json>) -> Json {
        let mut operation = Json::object([
            ("status", status),
            ("jobId", id.into()),
            ("pollUrl", format!("/api/jobs/{id}").into()),
        ]);
        if let Some(result) = result {
            operation.push("result", result);
        }
        Json::object([("operation", operation)])
    }

    /// The answer of a poll (jobs page: members of `data`, legacy envelope).
    pub(crate) fn answer(&self, now: Instant, wall: SystemTime, request_id: String) -> Json {
        let phase = self.phase_at(now);
        let progress = self.progress_at(now);
        let word = match phase {
            JobPhase::Completed | JobPhase::Failed => self
                .view
                .end_word
                .clone()
                .map_or_else(|| phase.word().into(), Json::Text),
            JobPhase::InProgress => self
                .view
                .running_word
                .clone()
                .map_or_else(|| Json::word(phase.word()), Json::Text),
            JobPhase::Queued => Json::word(phase.word()),
        };
        let result = match phase {
            JobPhase::Completed => self.result(),
            _ => Some(Json::Null),
        };
        if self.view.shape == JobShape::Operation {
            return Job::operation(&self.id, word, result);
        }
        let [kind, name, text, done] = self.kind.words();
        let mut data = Json::object([
            ("jobId", (&self.id).into()),
            ("queueType", "vm-operations".into()),
            ("type", kind.into()),
            ("jobName", name.into()),
            ("statusKey", format!("jobs.status.{}", phase.word()).into()),
            ("progressTextKey", format!("jobs.{text}.progress").into()),
            ("progressMessage", format!("{progress} % {done}").into()),
        ]);
        if self.view.shape != JobShape::StateOnly {
            data.push("status", word.clone());
        }
        if self.view.shape != JobShape::StatusOnly {
            data.push("state", word);
        }
        data.push("progress", progress.into());
        data.push(
            "progressDetails",
            Json::object([
                ("percentage", progress.into()),
                ("message", format!("{progress} % {done}").into()),
                ("current", progress.into()),
                ("total", 100u32.into()),
            ]),
        );
        let turned = self.view.flags_contradict;
        data.push("isCompleted", ((phase == JobPhase::Completed) != turned).into());
        data.push("isFailed", ((phase == JobPhase::Failed) != turned).into());
        data.push("isRunning", (phase == JobPhase::InProgress).into());
        data.push("isWaiting", (phase == JobPhase::Queued).into());
        data.push("isScheduled", false.into());
        data.push("delay", "0".into());
        data.push("createdAt", iso(self.made).into());
        let finished = phase.ended().then(|| iso(self.made + self.lasts));
        data.push("finishedAt", finished.into());
        data.push("vmId", "10877".into());
        data.push("hostbillAccountId", "17122".into());
        if let Some(result) = result {
            data.push("result", result);
        }
        if phase == JobPhase::Failed {
            data.push("error", (&self.view.error).into());
        }
        if self.view.shape == JobShape::Bare {
            return data;
        }
        Json::object([
            ("success", true.into()),
            ("timestamp", iso(wall).into()),
            ("requestId", request_id.into()),
            ("data", data),
        ])
    }

    fn result(&self) -> Option<Json> {
        let names = |id: Option<&String>| match &self.backup {
            Some(backup) => Json::object([("backupId", backup.into())]),
            None => Json::object([("vpsId", id.into())]),
        };
        let made = self.vps_id.as_ref().or(self.target.as_ref());
        Some(match &self.view.result {
            JobResult::Nested => Json::nullable(Json::object([
                ("success", true.into()),
                ("type", self.kind.words()[0].into()),
                ("clientId", "4711".into()),
                ("result", names(made)),
                ("timestamp", iso(self.made + self.lasts).into()),
            ])),
            JobResult::Null => Json::Null,
            JobResult::Absent => return None,
            JobResult::Flat => names(made),
            JobResult::NumericVmId => Json::object([("vmId", 18211u32.into())]),
            JobResult::NamesSource => names(Some(&self.source_vps)),
            JobResult::Custom(text) => Json::raw(text),
        })
    }
}
