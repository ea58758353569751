//! A value that many wait for and one makes.

use std::cell::{Cell, RefCell};
use tokio::sync::{Mutex, MutexGuard};

/// Holds a value once it was made. Who comes while another is making it waits, and shares the
/// outcome, a failure too: twenty orders do not ask a dead CA one after the other.
#[derive(Debug)]
pub(super) struct SingleFlight<T, E> {
    value: Mutex<Option<T>>,
    rounds: Cell<u64>,
    failure: RefCell<Option<E>>,
}

impl<T: Clone, E: Clone> SingleFlight<T, E> {
    pub(super) fn new() -> Self {
        Self { value: Mutex::new(None), rounds: Cell::new(0), failure: RefCell::new(None) }
    }

    /// Gives the value if there is one that is `usable`, else makes it.
    pub(super) async fn get(
        &self,
        usable: impl Fn(&T) -> bool,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let entered = self.rounds.get();
        let mut value = self.value.lock().await;
        if let Some(value) = value.as_ref().filter(|value| usable(value)) {
            return Ok(value.clone());
        }
        let failure = self.failure.borrow().clone();
        if let Some(failure) = failure.filter(|_| self.rounds.get() != entered) {
            return Err(failure);
        }
        let made = make().await;
        self.rounds.set(self.rounds.get() + 1);
        self.failure.replace(made.as_ref().err().cloned());
        *value = made.as_ref().ok().cloned();
        made
    }

    /// Access to the value, to take it away.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::SingleFlight;
    use std::cell::Cell;
    use tokio::task::yield_now;

    #[tokio::test(flavor = "current_thread")]
    async fn one_makes_it_and_all_have_it() {
        let shared = SingleFlight::<u32, ()>::new();
        let made = Cell::new(0);
        let get = || {
            shared.get(
                |_| true,
                async || {
                    yield_now().await;
                    made.set(made.get() + 1);
                    Ok(made.get())
                },
            )
        };
        assert_eq!(tokio::join!(get(), get(), get()), (Ok(1), Ok(1), Ok(1)));
        assert_eq!(shared.get(|value| *value > 1, async || Ok(2)).await, Ok(2));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_waited_shares_a_failure_and_who_comes_later_tries_again() {
        let shared = SingleFlight::<u32, u32>::new();
        let made = Cell::new(0);
        let get = || {
            shared.get(
                |_| true,
                async || {
                    yield_now().await;
                    made.set(made.get() + 1);
                    Err(made.get())
                },
            )
        };
        assert_eq!(tokio::join!(get(), get(), get()), (Err(1), Err(1), Err(1)));
        assert_eq!(get().await, Err(2));
    }
}
