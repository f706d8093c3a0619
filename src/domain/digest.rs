//! Stable hashes. Their input is versioned and held by golden vectors: a changed hash would make
//! the operator forget what it has bought.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// A hash of `parts` in lower-case base32, cut to `length` characters (5 bits each).
///
/// Every part is preceded by its length, so that no two lists of parts collide by concatenation.
pub fn base32(purpose: &str, parts: &[&str], length: usize) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&purpose).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut text = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    text.truncate(length);
    text
}
