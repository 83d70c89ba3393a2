//! Hashing and checking of secrets that users chose: Argon2id on a bounded pool, so that a flood of log-ins can take
//! neither all processors nor all memory.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use tokio::sync::Semaphore;

/// Requests that may wait for the pool.
const QUEUE: usize = 64;
/// How long a request waits for the pool.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_THREADS: usize = 8;

/// Why nothing was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many requests wait already.
    #[error("too many log-ins at once")]
    Busy,
    /// Hashing itself failed.
    #[error("hashing failed")]
    Failed,
}

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct PasswordPool {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    dummy: Arc<str>,
}

impl PasswordPool {
    /// A pool of `threads` computations at a time; 0 means one per processor, at most eight.
    ///
    /// # Errors
    /// Hashing does not work here.
    pub fn new(threads: u32) -> Result<Self, PasswordError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let threads = match usize::try_from(threads) {
            Ok(0) | Err(_) => processors,
            Ok(threads) => threads,
        };
        Ok(Self {
            running: Arc::new(Semaphore::new(threads)),
            waiting: Arc::new(Semaphore::new(threads + QUEUE)),
            dummy: hash(b"no key has this secret")?.into(),
        })
    }

    /// The PHC string of a secret.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, secret: String) -> Result<String, PasswordError> {
        self.run(move || hash(secret.as_bytes())).await?
    }

    /// The position of the first verifier that the secret fits. With none to try a dummy is computed, so that the time
    /// does not show whether there was one.
    ///
    /// # Errors
    /// The pool is full.
    pub async fn find(&self, secret: String, verifiers: Vec<String>) -> Result<Option<usize>, PasswordError> {
        let dummy = self.dummy.clone();
        self.run(move || {
            if verifiers.is_empty() {
                verify(secret.as_bytes(), &dummy);
                return None;
            }
            verifiers.iter().position(|verifier| verify(secret.as_bytes(), verifier))
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let permit = tokio::time::timeout(PATIENCE, self.running.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Failed)?;
        let job = tokio::task::spawn_blocking(move || {
            // Held by the computation, not by the request: a client that hangs up does not free a processor.
            let _permit = permit;
            work()
        });
        job.await.map_err(|_| PasswordError::Failed)
    }
}

fn hash(secret: &[u8]) -> Result<String, PasswordError> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(secret, &salt).map_err(|_| PasswordError::Failed)?;
    Ok(hash.to_string())
}

/// Parameters are read from the verifier, so that older ones go on working.
fn verify(secret: &[u8], verifier: &str) -> bool {
    PasswordHash::new(verifier).is_ok_and(|hash| Argon2::default().verify_password(secret, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fitting_verifier_is_found() {
        let pool = PasswordPool::new(1).unwrap();
        let hashed = pool.hash("hunter22".into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        let other = pool.hash("other".into()).await.unwrap();
        assert_eq!(pool.find("hunter22".into(), vec![other.clone(), hashed]).await, Ok(Some(1)));
        assert_eq!(pool.find("hunter22".into(), vec![other, "nonsense".into()]).await, Ok(None));
        assert_eq!(pool.find("hunter22".into(), Vec::new()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_full_pool_refuses_at_once() {
        let pool = PasswordPool::new(1).unwrap();
        let _all = pool.waiting.acquire_many(u32::try_from(1 + QUEUE).unwrap()).await.unwrap();
        assert_eq!(pool.hash("x".into()).await, Err(PasswordError::Busy));
    }
}
