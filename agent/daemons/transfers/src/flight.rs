//! Single flight: concurrent callers with the same key share one piece of work and its result.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use sf_runtime::context;
use tokio::sync::watch;

/// Work under way, by key.
pub(crate) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K: Eq + Hash + Clone + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// Joins the work for `key`, starting it when there is none. The work goes on when callers leave. `None` when it
    /// ended without a result.
    pub(crate) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = {
            let mut running = self.running.lock();
            match running.get(&key) {
                Some(result) => result.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    running.insert(key.clone(), receiver.clone());
                    let landing = Landing { running: Arc::clone(&self.running), key };
                    let work = context::scope(context::current(), work());
                    tokio::spawn(async move {
                        let value = work.await;
                        // Off the list first: whoever comes now starts anew.
                        drop(landing);
                        let _ = sender.send(Some(value));
                    });
                    receiver
                }
            }
        };
        let done = result.wait_for(Option::is_some).await.ok()?;
        done.clone()
    }
}

/// Takes a flight off the list, also when it panics.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn callers_share_one_flight_and_the_next_starts_anew() {
        let flights = Arc::new(Flights::<u8, u32>::default());
        let (started, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let call = || {
            let (flights, started, gate) = (flights.clone(), started.clone(), gate.clone());
            tokio::spawn(async move {
                flights
                    .join(1, || async move {
                        let number = started.fetch_add(1, Ordering::SeqCst) + 1;
                        gate.notified().await;
                        number
                    })
                    .await
            })
        };
        let calls: Vec<_> = (0..5).map(|_| call()).collect();
        while started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        for call in calls {
            assert_eq!(call.await.unwrap(), Some(1));
        }
        gate.notify_one();
        assert_eq!(call().await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_panic_frees_the_key() {
        let flights = Flights::<u8, u32>::default();
        assert_eq!(flights.join(1, || async { panic!("deliberate") }).await, None);
        assert_eq!(flights.join(1, || async { 7 }).await, Some(7));
    }
}
