//! Typed parameters of requests: what is accepted, what is refused, and with which sentence.
//!
//! A request struct reads its fields one by one from [`Fields`] with parsers that are plain functions from a JSON value to
//! a typed value. Whatever is left over afterwards was not declared and is refused. Only the first problem is reported,
//! by its path (`disk[0].size`) and the expectation, never by the value.

mod fault;
mod fields;
mod json;
mod net;
mod query;
mod scalars;
mod specs;

pub use fault::Fault;
pub use fields::Fields;
pub use json::{MAX_DEPTH, object};
pub(crate) use net::overlap;
pub use net::{ipv4, netblock};
pub use query::pairs;
pub use scalars::{
    any, base64, boolean, choice, confirmed, int, list, map, nested, number, reference, string, text_of,
    uint, uint_in, uuid,
};
pub use specs::{AddressWish, DiskSpec, NetworkSpec, VideoSpec, disk_spec, network_spec, video_spec};
