//! Long inputs written short, so that the fuzzer finds what takes long: `a@@3:b#@@c` is `ab0b1b2c`.

/// No input becomes longer.
const LONGEST: usize = 512 * 1024;

const MARK: &[u8] = b"@@";

/// The input as it is meant.
pub fn written_out(input: &[u8]) -> Vec<u8> {
    let Some((before, rest)) = split(input, MARK) else {
        return input.to_vec();
    };
    let Some(((times, piece), after)) = split(rest, MARK).and_then(|(part, after)| {
        let (times, piece) = split(part, b":")?;
        let times: usize = std::str::from_utf8(times).ok()?.parse().ok()?;
        Some(((times, piece), after))
    }) else {
        return input.to_vec();
    };
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
        if out.len() + after.len() > LONGEST || piece.is_empty() {
            break;
        }
    }
    out.extend_from_slice(after);
    out
}

/// What stands before and after the first `mark`.
pub fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}
