//! The capacity ledger and the life of instances, against a real MariaDB.

mod ledger;
mod world;
