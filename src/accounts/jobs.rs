//! How long the jobs of a key take.

use std::collections::VecDeque;
use std::time::Duration;

use super::question::Answer;
use crate::domain::action::follow::JobTimes;
use crate::domain::provider::job::JobState;
use crate::domain::values::ids::RecordName;
use crate::hostup::ReadError;

/// Jobs whose times are remembered.
pub(super) const KEPT: usize = 16;

/// While nothing is known, one job is polled to find out for so long, and then another.
const FINDS_OUT_WITHIN: Duration = Duration::from_secs(30);

/// What the last jobs took that were completed, by HostUp's own word.
#[derive(Default)]
pub(super) struct Jobs {
    took: VecDeque<Duration>,
    /// HostUp does not tell when its jobs were made and finished: there is nothing to find out.
    is_untold: bool,
    /// Whose job finds it out, and since when.
    finds_out: Option<(RecordName, Duration)>,
}

impl Jobs {
    /// Takes in what an answer says of a job.
    pub(super) fn note(&mut self, answer: &Result<Answer, ReadError>) {
        match answer {
            Ok(Answer::Job(JobState::Completed { took: Some(took), .. }, _)) => {
                self.took.truncate(KEPT - 1);
                self.took.push_front(*took);
            }
            Ok(Answer::Job(JobState::Completed { took: None, .. }, _)) => self.is_untold = true,
            Ok(_) | Err(_) => {}
        }
    }

    /// What is known, for the job of `record`; `now` is by the monotonic clock.
    pub(super) fn times(&mut self, record: &RecordName, now: Duration) -> JobTimes {
        if let Some(fastest) = self.took.iter().min() {
            return JobTimes::AtLeast(*fastest);
        }
        if self.is_untold {
            return JobTimes::Unknown;
        }
        match &self.finds_out {
            Some((other, since)) if other != record && now.saturating_sub(*since) < FINDS_OUT_WITHIN => {
                JobTimes::FoundOutByAnother
            }
            Some((same, _)) if same == record => JobTimes::Unknown,
            Some(_) | None => {
                self.finds_out = Some((record.clone(), now));
                JobTimes::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_finds_out_how_long_they_take_and_then_another() {
        let mut jobs = Jobs::default();
        let mut times = |name: &str, now: u64| jobs.times(&RecordName::new(name), Duration::from_secs(now));
        assert_eq!(times("a", 0), JobTimes::Unknown);
        assert_eq!(times("b", 1), JobTimes::FoundOutByAnother);
        assert_eq!(times("a", 2), JobTimes::Unknown);
        assert_eq!(times("b", 31), JobTimes::Unknown, "the first one tells nothing");
        assert_eq!(times("a", 32), JobTimes::FoundOutByAnother);
    }

    #[test]
    fn nobody_waits_for_times_that_hostup_does_not_tell() {
        let mut jobs = Jobs::default();
        let times = |jobs: &mut Jobs, name: &str| jobs.times(&RecordName::new(name), Duration::ZERO);
        times(&mut jobs, "a");
        let completed = JobState::Completed {
            hints: Vec::new(),
            took: None,
        };
        jobs.note(&Ok(Answer::Job(completed, None)));
        assert_eq!(times(&mut jobs, "b"), JobTimes::Unknown);
    }
}
