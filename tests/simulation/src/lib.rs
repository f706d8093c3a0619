//! Lives of the whole operator, in one thread and virtual time: an API server in memory, HostUp's simulator in process,
//! people, and every fault of both, all drawn from one seed.
//!
//! `make simulate SEED=n` tells the story of one life; `make simulate LIVES=n` lives many.

use mimalloc::MiMalloc;

/// A life is made of millions of small objects, and the system's allocator takes a fifth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

mod body;
pub mod cluster;
mod dice;
mod field;
mod judge;
pub mod life;
mod line;
pub mod many;
pub mod met;
mod no_chance;
mod people;
mod process;
mod story;
mod troubles;
mod weather;
mod wishes;
