//! Timers of async waits.

use std::time::Duration;

use tokio::runtime;
use tokio::task::JoinHandle;

/// Where timers run.
#[derive(Clone, Debug)]
pub(crate) enum Timers {
    /// In the runtime of a simulator on a port, whose time nobody pauses.
    In(runtime::Handle),
    /// In the runtime of whoever waits, so that its time may be virtual.
    Callers,
}

/// A timer that runs; it ends when it is dropped.
pub(crate) struct Timer(JoinHandle<()>);

impl Timers {
    pub(crate) fn sleep(&self, time: Duration) -> Timer {
        let sleeping = async move { tokio::time::sleep(time).await };
        Timer(match self {
            Timers::In(runtime) => runtime.spawn(sleeping),
            Timers::Callers => tokio::spawn(sleeping),
        })
    }
}

impl Timer {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end, or for that of the simulator it runs in.
    pub(crate) async fn over(&mut self) {
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
