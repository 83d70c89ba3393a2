//! `sf-database`: the gateway between every daemon and MariaDB.
//!
//! (The shell of this crate — server, call table, runners, health, drain — is being written by the lead right now,
//! 15:55. Register calls in `src/calls/<service>.rs`; see `table.rs`.)
