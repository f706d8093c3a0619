//! What others write, against what is promised of it: HostUp's answers, the API server's, a person's objects.
//!
//! Each target takes bytes and panics where a promise is broken. `make fuzz` feeds them by libFuzzer; without the
//! feature `libfuzzer` the program runs the files that it is given, e.g. one that the fuzzer has kept.

mod account;
mod answer;
mod decided;
mod envelope;
mod headers;
mod list;
mod price;
mod problem;
mod promise;
mod record;
mod repeat;
mod secret;
mod spec;

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// No input may take longer, in time of the processor.
const LONGEST: Duration = Duration::from_secs(1);

/// The targets, by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("problem", problem::run),
    ("envelope", envelope::run),
    ("list", list::run),
    ("price", price::run),
    ("headers", headers::run),
    ("secret", secret::run),
    ("spec", spec::run),
    ("record", record::run),
];

/// Takes an input, and panics where it breaks a promise.
pub type Target = fn(&[u8]);

/// The target of that name.
///
/// # Errors
/// The names that there are.
pub fn target(name: &str) -> Result<Target, String> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, target)| *target).ok_or_else(|| {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        format!("{name:?} is no target; there are {names}")
    })
}

/// Runs one input. The processor's time is asked, for a machine that is busy makes no input slow.
///
/// # Panics
/// Where a promise is broken, and where it took too long.
pub fn run(target: Target, input: &[u8]) {
    let started = processor_time();
    target(&repeat::written_out(input));
    let took = processor_time().saturating_sub(started);
    assert!(took < LONGEST, "a slow input: {took:?}");
}

fn processor_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or_default())
}
