//! A value whose changes tasks await.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value whose changes tasks await, one after the other in the order in which they began to wait. (Tokio's `watch` wakes
/// them in an order of chance, which nobody can seed.) Cheap to clone.
#[derive(Clone)]
pub struct Announced<T> {
    all: Arc<All<T>>,
}

struct All<T> {
    value: Mutex<Versioned<T>>,
    bell: Notify,
}

struct Versioned<T> {
    value: T,
    version: u64,
}

impl<T: Copy + fmt::Debug> fmt::Debug for Announced<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(out)
    }
}

impl<T: Copy> Announced<T> {
    /// With its first value.
    pub fn new(value: T) -> Announced<T> {
        Announced {
            all: Arc::new(All {
                value: Mutex::new(Versioned { value, version: 0 }),
                bell: Notify::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Versioned<T>> {
        self.all.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> T {
        self.lock().value
    }

    /// Announces the value that `next` makes of this one, if it makes one. Returns whether it does.
    pub fn change(&self, next: impl FnOnce(T) -> Option<T>) -> bool {
        let mut value = self.lock();
        let Some(next) = next(value.value) else {
            return false;
        };
        value.value = next;
        value.version += 1;
        drop(value);
        self.all.bell.notify_waiters();
        true
    }

    /// Who listens from now on.
    #[must_use]
    pub fn listener(&self) -> Listener<'_, T> {
        Listener {
            to: self,
            heard: self.lock().version,
        }
    }
}

/// Awaits changes of a value.
pub struct Listener<'a, T> {
    to: &'a Announced<T>,
    heard: u64,
}

impl<T: Copy> Listener<'_, T> {
    /// Ends once the value has changed since it was listened to last.
    pub async fn changed(&mut self) {
        loop {
            let bell = self.to.all.bell.notified();
            let version = self.to.lock().version;
            if version != self.heard {
                self.heard = version;
                return;
            }
            bell.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began() {
        let announced = Announced::new(0);
        let woken = Rc::new(RefCell::new(Vec::new()));
        let tasks = tokio::task::LocalSet::new();
        for n in 0..64 {
            let (announced, woken) = (announced.clone(), woken.clone());
            tasks.spawn_local(async move {
                announced.listener().changed().await;
                woken.borrow_mut().push(n);
            });
        }
        let rings = announced.clone();
        tasks.spawn_local(async move { rings.change(|value| Some(value + 1)) });
        tasks.await;
        assert_eq!(*woken.borrow(), (0..64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_is_heard_and_what_is_no_change_is_not() {
        let announced = Announced::new(1);
        let mut listener = announced.listener();
        assert!(!announced.change(|_| None));
        assert!(announced.change(|value| Some(value + 1)));
        listener.changed().await;
        assert_eq!(announced.get(), 2);
    }
}
