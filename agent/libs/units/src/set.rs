//! Sets of daemons: what is missing from one, and in which order it is started.

use sf_model::DaemonName;

use crate::table::{UNITS, unit};

/// Daemons that members of the set need on the same host and that are not in it, as (who, needs what).
pub fn missing(set: &[DaemonName]) -> Vec<(DaemonName, DaemonName)> {
    let declared = set.iter().filter_map(|name| unit(*name));
    let needs = declared.flat_map(|unit| unit.requires.iter().map(|other| (unit.name, *other)));
    needs.filter(|(_, other)| !set.contains(other)).collect()
}

/// The set without repetitions, each daemon behind those it is started after.
pub fn dependency_order(set: &[DaemonName]) -> Vec<DaemonName> {
    // The table is in that order; its test holds it there.
    UNITS.iter().map(|unit| unit.name).filter(|name| set.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::DaemonName::{Api, Net, NetPrivexec, Privexec, Queues, Transfers};

    #[test]
    fn what_a_set_lacks_is_named() {
        assert_eq!(missing(&[Net, Api]), [(Net, NetPrivexec), (Api, Transfers)]);
        assert!(missing(&[Net, NetPrivexec, Queues, Privexec]).is_empty());
    }

    #[test]
    fn a_daemon_starts_behind_those_it_follows() {
        for (at, unit) in UNITS.iter().enumerate() {
            for earlier in unit.after {
                assert!(
                    UNITS.iter().take(at).any(|other| other.name == *earlier),
                    "{} after {earlier}",
                    unit.name
                );
            }
        }
        assert_eq!(dependency_order(&[Queues, Privexec, Queues]), [Privexec, Queues]);
    }
}
