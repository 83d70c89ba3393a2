//! The one way daemons call the database tier.
//!
//! [`Gateway::call`] sends a request message to whichever gateway is well, with a deadline, tries others when that
//! fails, and answers with the reply or a [`DbError`] whose variants callers can act on. Every call may be repeated
//! safely, by construction of the calls themselves.

mod attempt;
mod call;
mod caller;
mod class;
mod endpoint;
mod error;
mod health;
mod names;
mod page;
mod picker;
mod sink;

pub use call::{Gateway, GatewayOptions};
pub use caller::Caller;
pub use class::CallClass;
pub use error::{DbError, ERROR_INFO_KEY, RETRY_AFTER_KEY, error_info};
pub use health::{HealthError, probe};
pub use page::{Complete, Partial};
