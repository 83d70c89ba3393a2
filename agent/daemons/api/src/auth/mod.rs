//! Credentials: secrets of keys, their verification, and the tokens issued for them (`security.md` §3–4).

pub mod password;
pub mod refusals;
pub mod secret;
pub mod throttle;
pub mod token;

pub use password::{PasswordError, PasswordPool};
pub use refusals::{Refusal, Refusals};
pub use secret::Presented;
pub use throttle::{Buckets, FailedLogins};
pub use token::{Claims, Signer, TokenFault};
