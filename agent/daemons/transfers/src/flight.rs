//! Single flight: concurrent callers with the same key share one piece of work and its result.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use sf_runtime::context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where the result of each piece of work under way will be told. Only callers listen, so the teller knows when the last
/// of them has left.
type Running<K, V> = Arc<Mutex<HashMap<K, Arc<watch::Sender<Option<V>>>>>>;

/// Work under way, by key.
pub(crate) struct Flights<K, V> {
    running: Running<K, V>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K: Eq + Hash + Clone + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// Joins the work for `key`, starting it when there is none. The token that the work is given is cancelled with
    /// `ending`, and when the last caller has left; what the work does then is up to it, and whoever joins it late gets
    /// what it comes to. `None` when it ended without a result.
    pub(crate) async fn join<F>(
        &self,
        key: K,
        ending: &CancellationToken,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = {
            let mut running = self.running.lock();
            match running.get(&key) {
                Some(teller) => teller.subscribe(),
                None => {
                    let (teller, result) = watch::channel(None);
                    let (teller, unwanted) = (Arc::new(teller), ending.child_token());
                    running.insert(key.clone(), Arc::clone(&teller));
                    let landing = Landing { running: Arc::clone(&self.running), key };
                    let work = context::scope(context::current(), work(unwanted.clone()));
                    tokio::spawn(fly(work, teller, unwanted, landing));
                    result
                }
            }
        };
        let done = result.wait_for(Option::is_some).await.ok()?;
        done.clone()
    }

    /// Whether work for `key` is under way.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.running.lock().contains_key(key)
    }
}

async fn fly<K: Eq + Hash, V>(
    work: impl Future<Output = V>,
    teller: Arc<watch::Sender<Option<V>>>,
    unwanted: CancellationToken,
    landing: Landing<K, V>,
) {
    let mut work = pin!(work);
    let value = tokio::select! {
        value = &mut work => value,
        () = teller.closed() => {
            unwanted.cancel();
            work.await
        }
    };
    // Off the list first: whoever comes now starts anew.
    drop(landing);
    let _ = teller.send(Some(value));
}

/// Takes a flight off the list, also when it panics.
struct Landing<K: Eq + Hash, V> {
    running: Running<K, V>,
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
                    .join(1, &CancellationToken::new(), |_| async move {
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
        assert_eq!(
            flights.join(1, &CancellationToken::new(), |_| async { panic!("deliberate") }).await,
            None
        );
        assert_eq!(flights.join(1, &CancellationToken::new(), |_| async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn work_is_told_when_the_last_caller_has_left() {
        let flights = Arc::new(Flights::<u8, u32>::default());
        let told = Arc::new(Notify::new());
        let call = || {
            let (flights, told) = (flights.clone(), told.clone());
            tokio::spawn(async move {
                let work = |unwanted: CancellationToken| async move {
                    unwanted.cancelled().await;
                    told.notify_one();
                    1
                };
                flights.join(1, &CancellationToken::new(), work).await
            })
        };
        let (first, second) = (call(), call());
        let listeners = || flights.running.lock().get(&1).map_or(0, |teller| teller.receiver_count());
        while listeners() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        while listeners() > 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let early = tokio::time::timeout(std::time::Duration::ZERO, told.notified()).await;
        assert!(early.is_err(), "somebody still waits for it");
        second.abort();
        told.notified().await;
    }
}
