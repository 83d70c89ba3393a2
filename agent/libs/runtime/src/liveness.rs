//! Progress, not mere existence: a process is alive while every registered loop has moved lately.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Silence allowed to a loop that has no reason for more.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// The loops of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Liveness {
    started: Instant,
    loops: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    loops: BTreeMap<u64, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    max_silence: Duration,
    /// Milliseconds after the start of the process.
    last: AtomicU64,
}

/// A loop that has been silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Name given at registration.
    pub name: String,
    /// Time since its last tick.
    pub silent: Duration,
}

/// The handle by which one loop shows progress. Dropping it takes the loop off the list.
#[derive(Debug)]
pub struct LoopTick {
    id: u64,
    entry: Arc<Entry>,
    liveness: Liveness,
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}

impl Liveness {
    /// An empty list.
    pub fn new() -> Self {
        Self { started: Instant::now(), loops: Arc::default() }
    }

    /// Adds a loop that promises to tick at least every `max_silence`.
    pub fn register(&self, name: impl Into<String>, max_silence: Duration) -> LoopTick {
        let entry = Arc::new(Entry { name: name.into(), max_silence, last: AtomicU64::new(self.now()) });
        let mut registry = self.loops.lock();
        let id = registry.next;
        registry.next += 1;
        registry.loops.insert(id, entry.clone());
        LoopTick { id, entry, liveness: self.clone() }
    }

    /// The loops that broke their promise.
    pub fn late(&self) -> Vec<Late> {
        let now = self.now();
        let silent =
            |entry: &Entry| Duration::from_millis(now.saturating_sub(entry.last.load(Ordering::Relaxed)));
        let registry = self.loops.lock();
        let late = registry.loops.values().filter(|entry| silent(entry) > entry.max_silence);
        late.map(|entry| Late { name: entry.name.clone(), silent: silent(entry) }).collect()
    }

    /// The names of all loops, for a crash report.
    pub fn names(&self) -> Vec<String> {
        self.loops.lock().loops.values().map(|entry| entry.name.clone()).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl LoopTick {
    /// Shows progress.
    pub fn tick(&self) {
        self.entry.last.store(self.liveness.now(), Ordering::Relaxed);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        metrics::gauge!("sf_loop_last_tick_seconds", "loop" => self.entry.name.clone()).set(unix);
    }

    /// The silence this loop may keep.
    pub fn max_silence(&self) -> Duration {
        self.entry.max_silence
    }

    /// Runs `work` while ticking on its behalf. Only for waits that are bounded by themselves (a call with a
    /// deadline, a sleep): work that can hang must tick for itself.
    pub async fn while_waiting<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        let step = self.entry.max_silence / 3;
        loop {
            self.tick();
            tokio::select! {
                biased;
                output = &mut work => {
                    self.tick();
                    return output;
                }
                () = tokio::time::sleep(step) => {}
            }
        }
    }
}

impl Drop for LoopTick {
    fn drop(&mut self) {
        self.liveness.loops.lock().loops.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loop_is_named_until_it_ticks_or_ends() {
        let liveness = Liveness::new();
        let patient = liveness.register("patient", Duration::from_secs(3600));
        let wedged = liveness.register("wedged", Duration::ZERO);
        while liveness.late().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(liveness.late().iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["wedged"]);
        drop(wedged);
        assert!(liveness.late().is_empty());
        patient.tick();
        assert_eq!(liveness.names(), ["patient"]);
    }
}
