//! A Kubernetes API server in memory, for one thread and tokio's paused time. It does nothing by chance and nothing in
//! real time: what becomes of each request is decided by [`Faults`].

mod answer;
mod faults;
mod kind;
mod refusal;
mod request;
mod server;
mod service;
mod store;
mod watch;

#[cfg(test)]
mod tests;

pub use answer::AnswerBody;
pub use faults::{
    Answer, ClientId, End, Faults, Gone, InFlight, Revisions, StreamedLists, Until, Verdict, WatchVerdict,
};
pub use kind::Kind;
pub use refusal::Refusal;
pub use request::{Part, RequestInfo, Verb};
pub use server::ApiServer;
pub use service::{Answering, ApiService};
pub use store::{Admission, Review, Snapshot, Write};
