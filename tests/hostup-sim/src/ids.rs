//! Public ids: a prefix and 26 lower-case characters (every example of the v2 pages).
//!
//! They come from a counter and the seed of their world, so a test run repeats itself, but they do not look like a counter, so
//! that nothing can rely on their order.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[derive(Debug)]
pub(crate) struct Ids {
    issued: u64,
    /// What the seed makes of the counter; nothing for seed 0.
    turn: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Ids {
        Ids {
            issued: 0,
            turn: if seed == 0 { 0 } else { mix(seed) },
        }
    }

    /// The next number, spread over twice 64 bits.
    fn fresh(&mut self) -> (u64, u64) {
        self.issued += 1;
        let turned = self.issued ^ self.turn;
        (mix(turned), mix(!turned))
    }

    /// `vps_`, `bkp_`, `job_`, `req_`, ... with a fresh body.
    pub(crate) fn next(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", self.body())
    }

    /// The request id of the legacy envelope, a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = self.fresh();
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// A short label for things that the provider names itself.
    pub(crate) fn label(&mut self, prefix: &str) -> String {
        format!("{prefix}-{}", &self.body()[18..])
    }

    fn body(&mut self) -> String {
        let (mut high, mut low) = self.fresh();
        let mut body = String::from("01k");
        for _ in 0..12 {
            body.push(char::from(ALPHABET[(high & 31) as usize]));
            high >>= 5;
        }
        for _ in 0..11 {
            body.push(char::from(ALPHABET[(low & 31) as usize]));
            low >>= 5;
        }
        body
    }
}

/// Spreads a counter over 64 bits (a bijection, so the ids of a world never repeat).
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
