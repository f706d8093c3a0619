use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};
use crate::random;

/// Below the ranges from which operating systems take ports for outgoing connections and for
/// `bind(0)`: a port from here stays free while a stopped API server does not hold it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const ATTEMPTS: usize = 200;

/// A loopback port that no other control plane on this machine takes while this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// An advisory lock, given back by the kernel when this process ends. None where locks cannot
    /// be kept; then only the attempt to listen decides.
    _lock: Option<File>,
}

impl Port {
    pub(crate) fn reserve() -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let number = FIRST + u16::from_ne_bytes(random::bytes()?) % COUNT;
            let lock = match lock_file(number) {
                Some(file) if file.try_lock().is_err() => continue,
                other => other,
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(Error::Assets(format!(
            "no free port among {ATTEMPTS} tried between {FIRST} and {}",
            FIRST + COUNT
        )))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

fn lock_file(number: u16) -> Option<File> {
    let folder = env::temp_dir().join("hostup-cp-ports");
    fs::create_dir_all(&folder).ok()?;
    File::create(folder.join(number.to_string())).ok()
}
