//! A real MariaDB for tests: one private server per test process, one database per test.

#![expect(clippy::panic, reason = "a test that cannot be set up has failed")]

mod database;
mod server;

pub use database::{TestDatabase, settings};
pub use server::{Server, ServerError};
