//! The parts of a daemon that run side by side and end together.

use std::fmt::Display;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::shutdown::Shutdown;

/// Named tasks. The first one to fail asks for shutdown of all.
pub struct Tasks<E> {
    shutdown: Shutdown,
    set: JoinSet<(String, Result<(), E>)>,
}

impl<E: Display + Send + 'static> Tasks<E> {
    /// No tasks yet.
    pub fn new(shutdown: &Shutdown) -> Self {
        Self { shutdown: shutdown.clone(), set: JoinSet::new() }
    }

    /// Starts a task. It should end soon after shutdown is asked for.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        self.set.spawn(async move { (name, work.await) });
    }

    /// Starts a task that cannot fail.
    pub fn spawn_loop(&mut self, name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, async move {
            work.await;
            Ok(())
        });
    }

    /// Waits until every task has ended, giving those that outlive shutdown by `grace` up.
    ///
    /// # Errors
    /// The first failure. A panic of a task asks for shutdown and is logged.
    pub async fn join(mut self, grace: Duration) -> Result<(), E> {
        let mut first = Ok(());
        let shutdown = self.shutdown.clone();
        let deadline = async {
            shutdown.requested().await;
            tokio::time::sleep(grace).await;
        };
        let mut deadline = std::pin::pin!(deadline);
        loop {
            let ended = tokio::select! {
                ended = self.set.join_next() => ended,
                () = &mut deadline => {
                    tracing::warn!(tasks = self.set.len(), "tasks did not end in time and are given up");
                    return first;
                }
            };
            match ended {
                None => return first,
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((task, Err(error)))) => {
                    tracing::error!(%task, %error, "task failed");
                    self.end(&mut first, Err(error));
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "task panicked");
                    self.end(&mut first, Ok(()));
                }
            }
        }
    }

    fn end(&self, first: &mut Result<(), E>, outcome: Result<(), E>) {
        if first.is_ok() {
            *first = outcome;
        }
        if !self.shutdown.is_requested() {
            self.shutdown.request();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_ends_all_and_is_returned() {
        let shutdown = Shutdown::new(Duration::ZERO);
        let mut tasks = Tasks::new(&shutdown);
        let waiting = shutdown.clone();
        tasks.spawn_loop("waits", async move { waiting.requested().await });
        tasks.spawn("fails", async { Err("broken") });
        assert_eq!(tasks.join(Duration::from_secs(60)).await, Err("broken"));
        assert!(shutdown.is_requested());
    }
}
