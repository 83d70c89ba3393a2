//! What the host meets of its cluster.

mod identity;
mod joining;
mod reaching;
mod tls;

pub(super) use joining::{name, version};
pub(super) use reaching::{clock, database, gateways};
pub(super) use tls::tls;
