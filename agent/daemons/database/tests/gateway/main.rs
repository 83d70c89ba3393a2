//! A gateway in this process against a real MariaDB, spoken to by the client every daemon uses.

mod outage;
mod polls;
mod replay;
mod rules;
mod tier;
