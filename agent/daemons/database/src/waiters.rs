//! Long polls: who waits for what, and who wakes them.
//!
//! A transaction that commits through this gateway wakes its waiters at once. What commits through another gateway is
//! found by one query every 250 ms that serves all waiters of this one (`Waiters::interests` says what to ask for).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sf_store::Wake;
use tokio::sync::Notify;

/// The waiters of one gateway. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiters {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    places: Mutex<HashMap<Wake, Place>>,
    dismissed: AtomicBool,
}

#[derive(Default)]
struct Place {
    notify: Arc<Notify>,
    waiting: usize,
}

/// A place among the waiters; leaving it takes the interest back.
pub struct Waiting {
    wakes: Vec<(Wake, Arc<Notify>)>,
    inner: Arc<Inner>,
}

impl Waiters {
    /// Takes a place for each of these. To be done before the look that decides whether to wait, so that a wake-up in
    /// between is not missed.
    pub fn join(&self, wakes: impl IntoIterator<Item = Wake>) -> Waiting {
        let mut places = self.inner.places.lock();
        let joined = wakes.into_iter().map(|wake| {
            let place = places.entry(wake).or_default();
            place.waiting += 1;
            (wake, place.notify.clone())
        });
        Waiting { wakes: joined.collect(), inner: self.inner.clone() }
    }

    /// Wakes everybody who waits for one of these.
    pub fn wake(&self, wakes: impl IntoIterator<Item = Wake>) {
        let places = self.inner.places.lock();
        for wake in wakes {
            if let Some(place) = places.get(&wake) {
                place.notify.notify_waiters();
            }
        }
    }

    /// What is being waited for now.
    pub fn interests(&self) -> Vec<Wake> {
        self.inner.places.lock().keys().copied().collect()
    }

    /// Sends everybody home, now and in future: the gateway ends.
    pub fn dismiss(&self) {
        self.inner.dismissed.store(true, Ordering::Release);
        let places = self.inner.places.lock();
        places.values().for_each(|place| place.notify.notify_waiters());
    }
}

impl Waiting {
    /// Runs `look` until it answers something or `patience` is over; between looks waits for a wake-up.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn until<T, E, F: Future<Output = Result<Option<T>, E>>>(
        &self,
        patience: std::time::Duration,
        mut look: impl FnMut() -> F,
    ) -> Result<Option<T>, E> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // Armed before the look: a wake-up during it makes the wait below return at once.
            let mut armed: Vec<_> =
                self.wakes.iter().map(|(_, notify)| Box::pin(notify.clone().notified_owned())).collect();
            for notified in &mut armed {
                notified.as_mut().enable();
            }
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            let over = self.inner.dismissed.load(Ordering::Acquire) || armed.is_empty();
            if over || tokio::time::timeout_at(deadline, futures::future::select_all(armed)).await.is_err() {
                return Ok(None);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut places = self.inner.places.lock();
        for (wake, _) in &self.wakes {
            if let Some(place) = places.get_mut(wake) {
                place.waiting = place.waiting.saturating_sub(1);
                if place.waiting == 0 {
                    places.remove(wake);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::NodeId;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    #[tokio::test]
    async fn a_wake_up_during_the_look_is_not_missed() {
        let waiters = Waiters::default();
        let wake = Wake::Work(NodeId::random());
        let waiting = waiters.join([wake]);
        let looks = AtomicU32::new(0);
        let found = waiting
            .until(Duration::from_secs(60), || {
                let look = looks.fetch_add(1, Ordering::Relaxed);
                if look == 0 {
                    waiters.wake([wake]);
                }
                std::future::ready(Ok::<_, ()>((look == 1).then_some("work")))
            })
            .await;
        assert_eq!(found, Ok(Some("work")));
    }

    #[tokio::test]
    async fn interest_ends_with_the_wait_and_draining_sends_home() {
        let waiters = Waiters::default();
        let waiting = waiters.join([Wake::Work(NodeId::random())]);
        assert_eq!(waiters.interests().len(), 1);
        waiters.dismiss();
        let nothing =
            waiting.until(Duration::from_secs(60), || std::future::ready(Ok::<Option<()>, ()>(None))).await;
        assert_eq!(nothing, Ok(None));
        drop(waiting);
        assert!(waiters.interests().is_empty());
    }
}
