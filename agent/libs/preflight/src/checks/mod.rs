//! The checks. Ids are stable: operators look them up, and automation ignores by them.

mod cluster;
mod host;
mod network;

use sf_units::Role;

use crate::finding::Finding;
use crate::input::Input;
use crate::subject::Subject;

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its id.
    pub id: &'static str,
    /// Whether an operator may not ignore its failure.
    pub hard: bool,
    /// Which hosts it is about.
    pub applies: fn(&Input) -> bool,
    /// The check itself.
    pub run: fn(&Subject) -> Vec<Finding>,
}

const fn check(id: &'static str, applies: fn(&Input) -> bool, run: fn(&Subject) -> Vec<Finding>) -> Check {
    Check { id, hard: false, applies, run }
}

const fn hard(id: &'static str, applies: fn(&Input) -> bool, run: fn(&Subject) -> Vec<Finding>) -> Check {
    Check { id, hard: true, applies, run }
}

fn all(_: &Input) -> bool {
    true
}

fn hypervisor(input: &Input) -> bool {
    input.is(Role::Hypervisor)
}

fn carrier(input: &Input) -> bool {
    input.is(Role::Network)
}

fn networks(input: &Input) -> bool {
    hypervisor(input) || carrier(input)
}

fn several(input: &Input) -> bool {
    input.multi
}

fn tier(input: &Input) -> bool {
    input.is(Role::Database)
}

fn client(input: &Input) -> bool {
    !tier(input)
}

/// Every check, in the order of the report.
pub const CHECKS: &[Check] = &[
    hard("PF-INIT", all, host::init),
    check("PF-OS", all, host::os),
    hard("PF-BIN", all, host::binary),
    hard("PF-VER", all, cluster::version),
    check("PF-KVM", hypervisor, host::kvm),
    check("PF-VIRT", hypervisor, host::virt),
    check("PF-DISK", all, host::disk),
    check("PF-FS", hypervisor, host::storage),
    check("PF-NFS", hypervisor, host::nfs),
    check("PF-RAM", hypervisor, host::memory),
    check("PF-CPU", hypervisor, host::processors),
    hard("PF-MESH", all, network::mesh),
    check("PF-MTU", several, network::mtu),
    check("PF-PMTU", several, network::path),
    check("PF-NET", networks, network::kernel),
    check("PF-PORT", all, network::ports),
    check("PF-FLOAT", carrier, network::floating),
    check("PF-CONFLICT", all, network::conflicts),
    hard("PF-DB", tier, cluster::database),
    check("PF-GW", client, cluster::gateways),
    check("PF-CLOCK", all, cluster::clock),
    check("PF-NAME", all, cluster::name),
    check("PF-TLS", all, cluster::tls),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::subject;

    #[test]
    fn a_host_that_is_fit_fails_nowhere_and_ids_are_distinct() {
        let subject = subject(&[]);
        for check in CHECKS.iter().filter(|check| check.id != "PF-DB") {
            for finding in (check.run)(&subject) {
                assert!(finding.level < Level::Warn, "{}: {finding:?}", check.id);
            }
        }
        let mut ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CHECKS.len());
    }

    #[test]
    fn every_check_is_in_the_reference() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/preflight.md");
        let page = std::fs::read_to_string(page).unwrap();
        for check in CHECKS {
            assert!(page.contains(&format!("| `{}` |", check.id)), "{} is not described", check.id);
        }
    }
}
