//! The one way to run a periodic loop.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use rand::Rng;
use tokio::sync::Notify;

use crate::liveness::{DEFAULT_SILENCE, Liveness, LoopTick};
use crate::shutdown::Shutdown;

/// What a pass asks for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Wait for the interval, or for a wake-up.
    Done,
    /// There is more to do: go again at once.
    More,
}

/// A loop: passes at an interval, at once when woken, until shutdown. Errors and panics of a pass are logged and
/// counted, and the loop goes on.
pub struct Loop {
    name: &'static str,
    interval: Box<dyn Fn() -> Duration + Send + Sync>,
    max_silence: Duration,
    jitter: bool,
    wake: Arc<Notify>,
}

impl Loop {
    /// A loop with a fixed interval. `name` appears in logs, metrics and the watchdog's report.
    pub fn every(name: &'static str, interval: Duration) -> Self {
        Self::every_with(name, move || interval)
    }

    /// A loop whose interval is asked for after each pass, for live configuration.
    pub fn every_with(name: &'static str, interval: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            name,
            interval: Box::new(interval),
            max_silence: DEFAULT_SILENCE,
            jitter: false,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Another promise to the watchdog than [`DEFAULT_SILENCE`].
    pub fn max_silence(mut self, silence: Duration) -> Self {
        self.max_silence = silence;
        self
    }

    /// Starts after a random part of the interval, so that nodes do not march in step.
    pub fn jittered(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// A handle whose `notify_one` starts the next pass at once.
    pub fn waker(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Runs passes until shutdown. A pass longer than the promised silence must call `tick` on the handle it is given.
    /// The future of a pass owns what it uses, so that a loop can be spawned.
    pub async fn run<E, F, P>(self, shutdown: Shutdown, liveness: Liveness, mut pass: P)
    where
        E: Display,
        F: Future<Output = Result<Pass, E>>,
        P: FnMut(Arc<LoopTick>) -> F,
    {
        let tick = Arc::new(liveness.register(self.name, self.max_silence));
        let shutdown = &shutdown;
        if self.jitter {
            let start = (self.interval)().mul_f64(rand::rng().random_range(0.0..1.0));
            self.rest(start, shutdown, &tick).await;
        }
        while !shutdown.is_requested() {
            tick.tick();
            let began = Instant::now();
            let outcome = AssertUnwindSafe(async { pass(tick.clone()).await }).catch_unwind().await;
            metrics::histogram!("sf_loop_pass_seconds", "loop" => self.name)
                .record(began.elapsed().as_secs_f64());
            let failure = match outcome {
                Ok(Ok(Pass::More)) => continue,
                Ok(Ok(Pass::Done)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(format!("panicked: {}", panic_text(panic.as_ref()))),
            };
            if let Some(error) = failure {
                metrics::counter!("sf_loop_errors_total", "loop" => self.name).increment(1);
                tracing::warn!(r#loop = self.name, %error, "pass failed, will be tried again");
            }
            self.rest((self.interval)(), shutdown, &tick).await;
        }
    }

    /// Waits for `duration`, a wake-up or shutdown. A rest cannot hang, so it may tick for the loop.
    async fn rest(&self, duration: Duration, shutdown: &Shutdown, tick: &LoopTick) {
        let wait = async {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = self.wake.notified() => {}
                () = shutdown.requested() => {}
            }
        };
        tick.while_waiting(wait).await;
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn errors_and_panics_do_not_end_a_loop() {
        let shutdown = Shutdown::new(Duration::ZERO);
        let mut passes = 0;
        let ending = shutdown.clone();
        let pass = |_tick| {
            passes += 1;
            let (number, ending) = (passes, ending.clone());
            async move {
                match number {
                    1 => Err("no luck"),
                    2 => panic!("deliberate"),
                    3 => Ok(Pass::More),
                    4 => Ok(Pass::Done),
                    _ => {
                        ending.request();
                        Ok(Pass::Done)
                    }
                }
            }
        };
        Loop::every("test", Duration::from_secs(60)).jittered().run(shutdown, Liveness::new(), pass).await;
        assert_eq!(passes, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_up_starts_a_pass_at_once() {
        let shutdown = Shutdown::new(Duration::ZERO);
        let work = Loop::every("test", Duration::from_secs(3600));
        let waker = work.waker();
        let began = tokio::time::Instant::now();
        let mut passes = 0;
        let ending = shutdown.clone();
        let pass = |_tick| {
            passes += 1;
            if passes == 3 {
                ending.request()
            } else {
                waker.notify_one()
            }
            std::future::ready(Ok::<_, String>(Pass::Done))
        };
        work.run(shutdown, Liveness::new(), pass).await;
        assert!(began.elapsed() < Duration::from_secs(3600));
    }
}
