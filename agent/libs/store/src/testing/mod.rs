//! A real MariaDB for tests: one private server per test process, one database per test.

#![expect(clippy::panic, reason = "a test that cannot be set up has failed")]

mod database;
mod nodes;
mod server;

pub use database::{TestDatabase, settings};
pub use nodes::{metrics, registration};
pub use server::{Server, ServerError};
