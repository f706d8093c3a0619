//! Times as people write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The time that a text names by RFC 3339. What lies beyond the last time that can be counted is far away, and a
/// leap second is the moment after it.
pub fn read(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(['T', 't'])?;
    let (clock, rest) = clock.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let (nanoseconds, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0)?;
            let (fraction, offset) = rest.split_at_checked(digits)?;
            (format!("{fraction:0<9}").get(..9)?.parse().ok()?, offset)
        }
    };
    let small = |n: i32| i8::try_from(n).ok();
    let at = DateTime::new(
        i16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second.min(59))?,
        nanoseconds,
    )
    .ok()
    .filter(|_| second <= 60)?;
    // Nothing but the end of the year 9999 is beyond it.
    let at = offset_of(offset)?.to_timestamp(at).unwrap_or(Timestamp::MAX);
    let leap = i64::from(second == 60);
    Some(
        at.checked_add(jiff::SignedDuration::from_secs(leap))
            .unwrap_or(at),
    )
}

fn offset_of(text: &str) -> Option<Offset> {
    if matches!(text, "Z" | "z") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    let seconds = (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))?;
    Offset::from_seconds(seconds).ok()
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i32; N]> {
    let mut parts = text.split(between);
    let mut read = [0; N];
    for (number, digits) in read.iter_mut().zip(digits) {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        *number = plain.then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_read_however_it_is_written() {
        for (text, means) in [
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-01t00:00:00z", "2026-12-01T00:00:00Z"),
            ("2026-12-01T01:30:00+01:30", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00-23:59", "2026-12-01T23:59:00Z"),
            ("2026-12-01T00:00:00+23:59", "2026-11-30T00:01:00Z"),
            ("2026-12-01T00:00:00.5Z", "2026-12-01T00:00:00.5Z"),
            (
                "2026-12-01T00:00:00.12345678912345678Z",
                "2026-12-01T00:00:00.123456789Z",
            ),
            ("2026-06-30T23:59:60Z", "2026-07-01T00:00:00Z"),
            ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(text), Some(at(means)), "{text}");
        }
        for text in [
            "",
            "soon",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-12-01 00:00:00Z",
            "2026-12-01T00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:00:61Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00x1Z",
            "2026-12-01T00:00:00+24:00",
            "2026-12-01T00:00:00+00:60",
            "2026-12-01T00:00:00+0000",
            "2026-12-01T00:00:00ZTZ",
            "+026-12-01T00:00:00Z",
            "２026-12-01T00:00:00Z",
            "2026-1é-01T00:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_lies_beyond_the_last_time_is_far_away() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59.999999999-23:59",
            "9999-12-31T00:00:00z",
        ] {
            assert!(
                read(text).is_some_and(|at| at > "9999-12-30T00:00:00Z".parse().unwrap()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_later_text_is_never_an_earlier_time(seconds in -62_167_219_200i64..253_402_300_799, more in 0i64..1_000_000) {
            let text = |seconds: i64| {
                let at = DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
                    .checked_add(jiff::SignedDuration::from_secs(seconds.min(253_402_300_799)))
                    .unwrap();
                format!("{at}Z")
            };
            let (this, that) = (read(&text(seconds)), read(&text(seconds + more)));
            prop_assert!(this.is_some() && this <= that, "{} {}", text(seconds), text(seconds + more));
        }
    }
}
