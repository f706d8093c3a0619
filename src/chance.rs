//! The one source of randomness of this process.

/// Bytes that nobody can guess; `None` where the system has none to give.
pub fn bytes<const COUNT: usize>() -> Option<[u8; COUNT]> {
    let mut random = [0; COUNT];
    getrandom::fill(&mut random).ok()?;
    Some(random)
}

/// A number below `end`, for waits that must differ; 0 where the system has no randomness to give.
pub fn below(end: u32) -> u32 {
    let random = bytes().map_or(0, u32::from_ne_bytes);
    random.checked_rem(end).unwrap_or_default()
}
