//! Bringing the daemons of one host to the wanted release, configuration and unit (`role.md` §9.2).
//!
//! What to do is decided by comparing what runs with what is wanted ([`plan`]), never by what some earlier run changed: a
//! run that was interrupted is simply repeated. A process carries the record of what it was started with ([`record`]), so
//! the comparison needs no file that could be stale. [`converge`] then acts, one daemon after another, behind three traits:
//! the service manager, the gates that say whether a daemon is well, and the slots by which hosts take turns.

pub mod converge;
pub mod credentials;
pub mod journal;
pub mod observe;
pub mod plan;
pub mod record;
pub mod release;
pub mod retire;
pub mod slots;
pub mod unit_files;
