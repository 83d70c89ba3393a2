//! Whether a host is fit for the daemons it is meant to run, said before anything is changed on it (`role.md` §8).
//!
//! Every check is a function from what was asked ([`Input`]) and what there is ([`System`], [`Probes`], [`ClusterFacts`])
//! to findings. A check that cannot look says so; it never passes for lack of knowledge.

mod checks;
mod finding;
mod input;
mod pem;
mod run;
mod subject;
pub mod system;

pub use checks::{CHECKS, Check};
pub use finding::{Finding, Level};
pub use input::{Input, InputError, Pem, Settings, TlsFiles};
pub use run::run;
pub use subject::{ClusterFacts, DatabaseState, GatewayState, Probes, Subject, VirtState};
pub use system::System;
