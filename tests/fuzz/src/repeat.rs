//! Long inputs written short, to see what takes long: after a line `long`, `a@@3:b#@@c` is `ab0b1b2c`.

/// None becomes longer: far less than what is read of an answer, for a target reads its input up to a dozen times, with
/// the fuzzer's counters in between.
const LONGEST: usize = 256 * 1024;

const MARK: &[u8] = b"@@";

/// The input as it is meant.
pub fn written_out(input: &[u8]) -> Vec<u8> {
    let long = input.strip_prefix(b"long\n");
    long.and_then(repeated).unwrap_or_else(|| input.to_vec())
}

fn repeated(input: &[u8]) -> Option<Vec<u8>> {
    let (before, rest) = split(input, MARK)?;
    let (part, after) = split(rest, MARK)?;
    let (times, piece) = split(part, b":")?;
    let times: usize = std::str::from_utf8(times).ok()?.parse().ok()?;
    let mut out = before.to_vec();
    for n in 0..times {
        let number = n.to_string();
        for byte in piece {
            if *byte == b'#' {
                out.extend_from_slice(number.as_bytes());
            } else {
                out.push(*byte);
            }
        }
        if out.len() > LONGEST || piece.is_empty() {
            break;
        }
    }
    out.extend_from_slice(after);
    Some(out)
}

/// What stands before and after the first `mark`.
pub fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}
