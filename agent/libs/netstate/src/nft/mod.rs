//! nftables without the `nft` program: a small description of tables, its encoding, and reading it back.
//!
//! [`ir`] and [`expr`] are pure; [`encode`] turns them into netlink messages; [`observe`] reads a table back;
//! [`tables`] holds the three tables of the product.

pub mod attr;
pub mod encode;
pub mod expr;
pub mod ir;
pub mod matches;
pub mod observe;
pub mod tables;

pub use ir::{
    Base, ChainSpec, Element, ElementKey, Elements, Fingerprint, RuleSpec, SetSpec, TableFamily, TableSpec,
    TableState,
};
