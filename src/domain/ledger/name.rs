//! A record's name and other texts in little room: a ledger has a hundred thousand of them.

use crate::ledger::names::{ChainKey, VmToken, attempt_number};
use crate::values::digest;
use crate::values::ids::RecordName;

/// Characters of the hash that a record's name begins with.
const HASH: usize = 26;

/// A record's name: its chain and attempt, or what somebody else called it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// As this program names records.
    Attempt(Chain, u32),
    /// Any other.
    Other(Box<str>),
}

/// The hash of a chain, five bits for each of its 26 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Chain([u8; 16], u8);

impl Name {
    /// The same in little room.
    pub(super) fn of(record: &RecordName) -> Self {
        let attempt = || {
            let (hash, number) = record.as_str().split_once('-')?;
            Some(Self::Attempt(Chain::of(hash)?, attempt_number(number)?))
        };
        attempt().unwrap_or_else(|| Self::Other(record.as_str().into()))
    }

    /// The name as the cluster knows it.
    pub(super) fn record(&self) -> RecordName {
        match self {
            Self::Attempt(chain, n) => RecordName::new(format!("{}-{n}", chain.hash())),
            Self::Other(text) => RecordName::new(&**text),
        }
    }
}

impl Chain {
    /// No other stands before it.
    pub(super) const FIRST: Self = Self([0; 16], 0);

    /// The chain of a key.
    pub(super) fn of_key(key: &ChainKey) -> Option<Self> {
        Self::of(key.as_str())
    }

    fn of(hash: &str) -> Option<Self> {
        if hash.len() != HASH {
            return None;
        }
        let mut digits = hash.bytes().map(|letter| match letter {
            b'a'..=b'z' => Some(letter - b'a'),
            b'2'..=b'7' => Some(letter - b'2' + 26),
            _ => None,
        });
        let mut bits = 0_u128;
        for digit in digits.by_ref().take(HASH - 1) {
            bits = bits << 5 | u128::from(digit?);
        }
        Some(Self(bits.to_be_bytes(), digits.next()??))
    }

    fn hash(self) -> String {
        let bits = u128::from_be_bytes(self.0);
        let digits = (0..HASH - 1).rev().map(|place| bits >> (5 * place) & 31);
        let digits = digits.map(|digit| u8::try_from(digit).unwrap_or_default());
        let letter = |digit| {
            char::from(if digit < 26 {
                b'a' + digit
            } else {
                b'2' + (digit - 26)
            })
        };
        digits.chain([self.1]).map(letter).collect()
    }
}

/// A token as a key.
pub(super) type TokenKey = [u8; VmToken::LENGTH];

/// Letter case is ignored, as where a VM is asked whether it has the token.
pub(super) fn token_key(token: &VmToken) -> Option<TokenKey> {
    token.as_str().to_ascii_lowercase().as_bytes().try_into().ok()
}

/// A text that is only asked whether it is the same. Another one may have the same mark, by chance alone: whoever
/// asks then waits, or is told that a VM is taken; nothing is bought for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

impl Mark {
    /// Of texts that mean one thing together.
    pub(super) fn of(what: &str, parts: &[&str]) -> Self {
        Self(digest::short(what, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_little_room_is_the_same_name() {
        let key = ChainKey::of_restore("shop", "web");
        for n in [1, 7, 10, 1_000_000, u32::MAX] {
            let name = key.record(n);
            let small = Name::of(&name);
            assert!(
                matches!(small, Name::Attempt(chain, m) if Some(chain) == Chain::of_key(&key) && m == n),
                "{name}"
            );
            assert_eq!(small.record(), name);
        }
        let hash = key.as_str();
        for odd in [
            format!("{hash}-0"),
            format!("{hash}-01"),
            format!("{hash}-4294967296"),
            format!("{hash}-1-2"),
            format!("{hash}a-1"),
            format!("{}-1", hash.to_uppercase()),
            "web".to_owned(),
            hash.to_owned(),
            String::new(),
        ] {
            let name = RecordName::new(&odd);
            assert!(matches!(Name::of(&name), Name::Other(_)), "{odd}");
            assert_eq!(Name::of(&name).record(), name);
        }
        let ends = ["a".repeat(HASH), "7".repeat(HASH)];
        for hash in ends {
            assert_eq!(
                Name::of(&RecordName::new(format!("{hash}-1"))).record().as_str(),
                format!("{hash}-1")
            );
        }
        assert_eq!(size_of::<Name>(), 24);
    }
}
