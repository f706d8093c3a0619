//! How long the jobs of a key take.

use std::collections::VecDeque;
use std::time::Duration;

use super::question::Answer;
use crate::domain::job::JobState;
use crate::hostup::ReadError;

/// Jobs whose times are remembered.
pub(super) const KEPT: usize = 16;

/// What the last jobs took that were completed, by HostUp's own word.
#[derive(Default)]
pub(super) struct Jobs(VecDeque<Duration>);

impl Jobs {
    /// Takes in what an answer says of a job.
    pub(super) fn note(&mut self, answer: &Result<Answer, ReadError>) {
        if let Ok(Answer::Job(JobState::Completed { took: Some(took), .. })) = answer {
            self.0.truncate(KEPT - 1);
            self.0.push_front(*took);
        }
    }

    /// The least time that any of them took.
    pub(super) fn take(&self) -> Option<Duration> {
        self.0.iter().min().copied()
    }
}
