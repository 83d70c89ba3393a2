//! The capacity ledger and the life of instances, against a real MariaDB.

mod create;
mod ledger;
mod life;
mod power;
mod states;
mod world;
