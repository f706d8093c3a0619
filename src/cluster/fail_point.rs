//! Named points between two effects, at which a test kills the process. Without the feature
//! `fail-points`, which no release has, they are nothing.

/// Every point, in the order of a life.
pub const ALL: [&str; 15] = [
    "before-claim",
    "after-claim",
    "after-second-look",
    "before-send",
    "after-answer",
    "after-answer-recorded",
    "before-report",
    "after-report",
    "before-job-read",
    "after-job-read",
    "before-outcome-recorded",
    "after-outcome-recorded",
    "after-adoption-claim",
    "before-read-back",
    "after-read-back",
];

/// Ends the process at once, as kill -9 would, if the test asked for this point.
#[cfg(feature = "fail-points")]
pub fn reach(point: &'static str) {
    debug_assert!(ALL.contains(&point), "{point} is not listed");
    #[allow(clippy::disallowed_methods)]
    if std::env::var("HOSTUP_FAIL_POINT").is_ok_and(|wanted| wanted == point) {
        // The test tells an end at this point from any other end by this line.
        eprintln!("fail point reached: {point}");
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub fn reach(_point: &'static str) {}
