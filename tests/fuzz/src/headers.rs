//! `Retry-After`, and HostUp's own count of calls.

use hostup_operator::domain::action::answer::{parse_retry_after, wait_asked_for};
use hostup_operator::domain::values::ids::VpsId;
use hostup_operator::hostup::{ReadError, Signal};
use jiff::{SignedDuration, Timestamp};

use crate::account::{Asked, done, now};
use crate::answer::Answer;
use crate::promise;

/// One answer, as it is read and as the pace is told of it.
pub fn run(input: &[u8]) {
    let answer = Answer::read(input);
    let asked = Asked::always(&answer);
    let read = done(asked.account.own_vps(&VpsId::new("vps_a")));
    let signals = asked.signals();
    let wait = wait_asked_for(answer.retry_after(), answer.body, now());
    wait.into_iter().for_each(promise::wait);
    match answer.status {
        200..300 => {
            let [Signal::Well { budget }] = signals.as_slice() else {
                panic!("{signals:?}");
            };
            let left = answer.header(1).and_then(|text| text.trim().parse::<u32>().ok());
            let reset = answer
                .header(2)
                .and_then(|text| text.trim().parse::<Timestamp>().ok());
            let whole = left.zip(reset);
            assert_eq!(
                budget.map(|(left, _)| left),
                whole.map(|(left, _)| left),
                "half a count"
            );
            if let (Some((_, wait)), Some((_, reset))) = (budget, whole) {
                assert!(
                    now().checked_add(*wait).is_ok_and(|until| until >= reset),
                    "{wait:?}"
                );
            }
        }
        429 => {
            assert_eq!(signals, [Signal::Limited { wait }]);
            let Err(ReadError::RateLimited { until }) = read else {
                panic!("{read:?}");
            };
            assert!(
                until.duration_since(now()) <= SignedDuration::from_mins(15),
                "{until}"
            );
        }
        _ => assert_eq!(signals, []),
    }
    if let Some(text) = answer.retry_after() {
        asked_for(text);
    }
}

/// Seconds are taken as they are written, and what is no time is none.
fn asked_for(text: &str) {
    let read = parse_retry_after(text, now());
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse::<u64>().unwrap_or(u64::MAX).clamp(1, 15 * 60);
        assert_eq!(read.map(|wait| wait.as_secs()), Some(seconds), "{text}");
    }
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        assert_eq!(read, None, "{text}");
    }
}
