//! Work that a hung mount may never let go of: on a thread of its own, waited for only so long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Results older than this say nothing about now.
const STALE: Duration = Duration::from_secs(60);

/// The same work, asked for again and again; at most one thread is at it.
pub(super) struct Patient<T> {
    work: Arc<dyn Fn() -> T + Send + Sync>,
    running: Option<Running<T>>,
}

struct Running<T> {
    began: Instant,
    result: oneshot::Receiver<T>,
}

impl<T: Send + 'static> Patient<T> {
    pub(super) fn new(work: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { work: Arc::new(work), running: None }
    }

    /// The result, if it comes within `patience`. What comes too late is kept for the next time.
    pub(super) async fn ask(&mut self, patience: Duration) -> Result<T, String> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => self.start()?,
            };
            match tokio::time::timeout_at(until, &mut running.result).await {
                Ok(Ok(result)) if running.began.elapsed() < STALE.max(patience) => return Ok(result),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err("the reading ended without a result".to_owned()),
                Err(_) => {
                    let seconds = running.began.elapsed().as_secs();
                    self.running = Some(running);
                    return Err(format!("no result for {seconds} seconds: a file system may hang"));
                }
            }
        }
    }

    fn start(&self) -> Result<Running<T>, String> {
        let (done, result) = oneshot::channel();
        let work = Arc::clone(&self.work);
        let began = Instant::now();
        std::thread::Builder::new()
            .name("disk-figures".to_owned())
            .spawn(move || {
                // Nobody may be left to take it.
                let _gone = done.send(work());
            })
            .map_err(|error| format!("the reading could not be started: {error}"))?;
        Ok(Running { began, result })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn work_that_hangs_is_not_started_twice_and_its_late_result_is_used() {
        let (release, released) = mpsc::channel();
        let (released, started) = (Mutex::new(released), Arc::new(AtomicU32::new(0)));
        let count = started.clone();
        let mut patient = Patient::new(move || {
            released.lock().recv().unwrap();
            count.fetch_add(1, Ordering::SeqCst) + 1
        });
        assert!(patient.ask(Duration::ZERO).await.is_err());
        assert!(patient.ask(Duration::ZERO).await.is_err());
        release.send(()).unwrap();
        assert_eq!(patient.ask(Duration::from_secs(30)).await, Ok(1));
        release.send(()).unwrap();
        assert_eq!(patient.ask(Duration::from_secs(30)).await, Ok(2));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }
}
