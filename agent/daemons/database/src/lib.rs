//! `sf-database`: the gateway between every daemon and MariaDB.
//!
//! Any number of these run, all equal, none with state that another needs. A call is one domain operation and one
//! transaction; what it is and who may make it stands in its proto file. The [`table`] binds each call to the store
//! function that does it; nothing here contains SQL.

mod caller;
mod calls;
mod gauges;
mod health;
mod overload;
mod refresh;
mod run;
mod runner;
mod serve;
mod sink;
mod state;
mod status;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod waiters;

pub use run::{DatabaseError, run};
pub use serve::Server;
pub use state::{Gateway, GatewayParts};
pub use waiters::Waiters;
