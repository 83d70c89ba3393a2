//! MariaDB: sessions, schema, transactions, and one module per domain with its queries.
//!
//! Functions of a domain take a session inside a transaction that the runner opened ([`transaction()`]) and a
//! [`TxContext`]; they answer with the messages of `sf_protos` or with small structs. All SQL of the product is here.

pub mod allocator;
pub mod artifacts;
pub mod blobs;
pub mod bootstrap;
mod bounded;
pub mod capacity;
pub mod clock;
pub mod compat;
pub mod config;
pub mod conn;
pub mod context;
pub mod error;
pub mod events;
pub mod instances;
mod item;
pub mod locks;
pub mod lookup;
pub mod maintenance;
pub mod metadata;
pub mod migrate;
pub mod mutations;
pub mod namespaces;
pub mod networks;
pub mod nodes;
pub mod operations;
pub mod page;
pub mod pending;
pub mod references;
pub mod rollout;
mod session;
pub mod sql;
pub mod statements;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod transaction;
pub mod types;
pub mod uploads;
pub mod wire;

pub use conn::{Conn, ConnectOptions, Endpoint, Pool};
pub use context::{Fence, Settings, TxContext, Wake};
pub use error::{Fault, StoreError, StoreResult, reason};
pub use session::session;
pub use tls::{Tls, Verify};
pub use transaction::{Deadline, transaction};
