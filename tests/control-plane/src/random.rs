use data_encoding::HEXLOWER;

use crate::error::{Result, Tried};

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(std::io::Error::from)
        .tried(|| "get random numbers".to_owned())?;
    Ok(bytes)
}

/// A name nobody else has: 16 hexadecimal digits.
pub(crate) fn name() -> Result<String> {
    Ok(HEXLOWER.encode(&bytes::<8>()?))
}
