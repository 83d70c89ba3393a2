//! What each daemon needs of its host, declared once: users, rights, paths, ports, order.
//!
//! The role's unit template, its `sysusers` and `tmpfiles` entries and its daemon sets are generated from
//! `sf-node daemons --json`, which prints these tables; the rolling restart and the preflight checks read them directly.

mod accounts;
pub mod binary;
mod daemon;
mod set;
mod table;

pub use accounts::{ACCOUNTS, Account, DIRECTORIES, Directory, GROUPS, HEARTBEAT};
pub use daemon::{Port, Proc, Role, Sandbox, StopTimeout, Unit};
pub use set::{dependency_order, missing};
pub use table::{UNITS, unit};
