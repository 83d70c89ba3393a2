//! Downloads images over HTTP: under the URL policy, with limits, and in a way that survives bad networks.

mod download;
mod error;
mod open;
mod resolver;
mod room;

pub use download::{Download, DownloadLimits, Observer, Outcome, Plan, RETRY_DELAYS, download};
pub use error::{Class, FetchError, shown};
pub use open::{Body, Conditions, Fetcher, MAX_REDIRECTS, Opened};
pub use resolver::{Resolver, SystemResolver};
pub use room::Room;
