//! The real router against the real database tier and MariaDB.

mod answer;
mod bad_input;
mod edge;
mod isolation;
mod keys;
mod requests;
mod world;
