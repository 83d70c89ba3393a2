//! The agent: one binary for every daemon (`sf-node`) and for the operator's command line (`sf-ctl`).
//!
//! No domain logic lives here: this crate reads the command line, wires libraries and daemons together, and turns what
//! they answer into exit codes and text.

mod answer;
mod cli;
mod ctl;
mod daemons;
mod failure;
mod net_cleanup;
mod probe;
mod process_record;
mod run;
mod standalone;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = cli::parse(std::env::args_os());
    let json = invocation.json();
    let outcome = invocation.execute();
    answer::finish(outcome, json)
}
