//! What a node has to render, computed from one picture of the database (`networking.md` §9.2).

mod carrier;
mod host;
mod list;
mod names;
mod network;
mod ports;

pub use host::host_intent;
pub use list::node_intents;
pub use network::intent_of;
