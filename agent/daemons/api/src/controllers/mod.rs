//! The use cases of the interface: one file per route, holding its request and its handler, in that order.

pub mod admin;
pub mod artifacts;
pub mod auth;
pub mod blobs;
pub mod instances;
pub mod interfaces;
pub mod keys;
pub mod namespaces;
pub mod networks;
pub mod nodes;
pub mod objects;
pub mod operations;
pub mod service;
pub mod uploads;
