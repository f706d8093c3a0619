//! Stable hashes. Their input is versioned and held by golden vectors: a changed hash would make
//! the operator forget what it has bought.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// A hash of `parts` in lower-case base32, cut to `length` characters (5 bits each).
///
/// Every part is preceded by its length, so that no two lists of parts collide by concatenation.
pub fn base32(purpose: &str, parts: &[&str], length: usize) -> String {
    let mut text = BASE32_NOPAD.encode(&hash(purpose, parts)).to_ascii_lowercase();
    text.truncate(length);
    text
}

/// The first 64 bits of such a hash, for what is compared within one process and where two that are equal by chance
/// make somebody wait.
pub fn short(purpose: &str, parts: &[&str]) -> u64 {
    let bytes = hash(purpose, parts);
    bytes
        .iter()
        .take(8)
        .fold(0, |short, byte| short << 8 | u64::from(*byte))
}

fn hash(purpose: &str, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(&purpose).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
