//! The control plane's part of the store against a real MariaDB.

mod schema;
