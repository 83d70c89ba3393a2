//! Dedicated threads for libvirt calls. tokio's blocking threads are not used: a hung libvirtd would fill them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::HypervisorError;

/// Calls that may wait for a thread.
const QUEUE: usize = 256;
/// Threads that may hang before the library counts as wedged.
const MAX_ABANDONED: usize = 8;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 3;

/// A pool of threads with bounded waiting. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Receiver<Job>>,
    abandoned: AtomicUsize,
}

struct Job {
    progress: Arc<AtomicU8>,
    run: Box<dyn FnOnce() + Send>,
}

impl Pool {
    pub(super) fn new(threads: usize) -> Self {
        let (jobs, queue) = sync_channel(QUEUE);
        let shared = Arc::new(Shared { queue: Mutex::new(queue), abandoned: AtomicUsize::new(0) });
        (0..threads.max(1)).for_each(|_| spawn(Arc::downgrade(&shared)));
        Self { jobs, shared }
    }

    /// Whether so many calls hang that only a restart of the process helps.
    pub(super) fn wedged(&self) -> bool {
        self.shared.abandoned.load(Ordering::Relaxed) > MAX_ABANDONED
    }

    /// Runs `work` on a pool thread. After `deadline` the call is abandoned: its thread is replaced and its outcome
    /// is unknown.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HypervisorError> {
        if self.wedged() {
            return Err(HypervisorError::Wedged);
        }
        let started = Instant::now();
        let progress = Arc::new(AtomicU8::new(QUEUED));
        let (answer, wait) = oneshot::channel();
        let run = Box::new(move || drop(answer.send(work())));
        match self.jobs.try_send(Job { progress: progress.clone(), run }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(HypervisorError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(HypervisorError::Wedged),
        }
        let outcome = tokio::time::timeout(deadline, wait).await;
        metrics::histogram!("sf_libvirt_call_seconds", "call" => name)
            .record(started.elapsed().as_secs_f64());
        match outcome {
            Ok(Ok(value)) => Ok(value),
            // The closure panicked: the library's safe wrapper could not cope with what libvirt answered.
            Ok(Err(_)) => Err(HypervisorError::Refused {
                call: name,
                code: "panic".into(),
                message: "the libvirt binding failed; see the log".into(),
            }),
            Err(_) => {
                self.abandon(&progress);
                Err(HypervisorError::Timeout { call: name, seconds: deadline.as_secs() })
            }
        }
    }

    fn abandon(&self, progress: &AtomicU8) {
        if progress.swap(ABANDONED, Ordering::AcqRel) == RUNNING {
            metrics::counter!("sf_libvirt_calls_abandoned_total").increment(1);
            let hanging = self.shared.abandoned.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(hanging, "abandoned a hypervisor call; its thread is replaced");
            spawn(Arc::downgrade(&self.shared));
        }
    }
}

fn spawn(shared: Weak<Shared>) {
    let spawned = std::thread::Builder::new().name("libvirt-call".into()).spawn(move || serve(&shared));
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for hypervisor calls");
    }
}

/// Serves jobs until the pool is gone, or until one of them was abandoned while it ran.
fn serve(shared: &Weak<Shared>) {
    loop {
        // The strong reference is given up before blocking in the job, so that a dropped pool ends its threads.
        let job = match shared.upgrade() {
            Some(shared) => shared.queue.lock().recv_timeout(Duration::from_secs(1)),
            None => return,
        };
        let job = match job {
            Ok(job) => job,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => continue,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let claimed = job.progress.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire);
        if claimed.is_err() {
            continue;
        }
        if catch_unwind(AssertUnwindSafe(job.run)).is_err() {
            tracing::error!("a libvirt call panicked in the binding");
        }
        if job.progress.swap(DONE, Ordering::AcqRel) == ABANDONED {
            // A replacement took this thread's place.
            if let Some(shared) = shared.upgrade() {
                shared.abandoned.fetch_sub(1, Ordering::Relaxed);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_hung_call_is_abandoned_and_its_thread_replaced() {
        let pool = Pool::new(1);
        let (release, hang) = mpsc::channel::<()>();
        let late = pool.call("hang", Duration::from_millis(50), move || hang.recv().is_ok()).await;
        assert_eq!(late, Err(HypervisorError::Timeout { call: "hang", seconds: 0 }));
        assert_eq!(pool.call("next", Duration::from_secs(20), || 7).await, Ok(7));
        assert_eq!(pool.shared.abandoned.load(Ordering::Relaxed), 1);
        drop(release);
        let recovered = async {
            while pool.shared.abandoned.load(Ordering::Relaxed) != 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), recovered).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_in_the_binding_is_an_error_and_not_the_end() {
        let pool = Pool::new(1);
        let failed = pool.call("bad", Duration::from_secs(20), || panic!("binding")).await;
        assert!(matches!(failed, Err::<(), _>(HypervisorError::Refused { call: "bad", .. })));
        assert_eq!(pool.call("next", Duration::from_secs(20), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn too_many_hanging_calls_are_reported() {
        let pool = Pool::new(1);
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let hang_until_wedged = async {
            while !pool.wedged() {
                let hang = hang.clone();
                let _ =
                    pool.call("hang", Duration::from_millis(20), move || hang.lock().recv().is_ok()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), hang_until_wedged).await.unwrap();
        assert_eq!(pool.call("next", Duration::from_secs(1), || 7).await, Err(HypervisorError::Wedged));
        drop(release);
    }
}
