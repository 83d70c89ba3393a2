//! Whether the database, its gateways and its clock are where they should be.

use std::path::Path;

use sf_model::DaemonName;
use strum::IntoEnumIterator;

use crate::finding::Finding;
use crate::subject::{DatabaseState, Subject};

/// Links to the units that start with the node.
const WANTED: &str = "/etc/systemd/system/sf.target.wants";

/// Differences of clocks, seconds.
const WARN_SKEW: f64 = 1.0;
const FAIL_SKEW: f64 = 5.0;

/// PF-DB.
pub(in crate::checks) fn database(subject: &Subject) -> Vec<Finding> {
    match &subject.cluster.database {
        None => vec![
            Finding::fail("no database is given")
                .want("mariadb_host or mariadb_socket, and a password")
                .why("this host is of the database tier")
                .fix("set sf_mariadb_host and sf_mariadb_password"),
        ],
        Some(DatabaseState::Unusable(problem)) => vec![
            Finding::fail(problem.clone())
                .want("a MariaDB of 10.11 or later that this host can use")
                .why("everything the cluster knows is there")
                .fix("correct the address, the grants or the server, as the message says; see the database page of the operator guide"),
        ],
        Some(DatabaseState::Usable { version, warnings }) => {
            let mut found = vec![Finding::pass(format!("MariaDB {version}"))];
            found.extend(warnings.iter().map(|warning| Finding::warn(warning.clone())));
            found
        }
    }
}

/// PF-GW.
pub(in crate::checks) fn gateways(subject: &Subject) -> Vec<Finding> {
    let gateways = &subject.cluster.gateways;
    let problems: Vec<String> = gateways
        .iter()
        .filter_map(|gateway| Some(format!("{}: {}", gateway.endpoint, gateway.error.as_ref()?)))
        .collect();
    let reached = gateways.len() - problems.len();
    let found = if reached > 0 {
        Finding::pass(format!("{reached} of {} gateways accept connections", gateways.len()))
    } else if has_joined(subject) && subject.input.settings.tier_in_run {
        // After a restore, or a start of everything, the run itself is what brings the tier back.
        Finding::warn(problems.join("; "))
            .want("at least one gateway")
            .why("this host is in a cluster; the database tier comes up later in this run")
            .fix("nothing, unless the run ends without a gateway: then start sf-database there, or open the port between the hosts")
    } else if has_joined(subject) {
        Finding::fail(problems.join("; "))
            .want("at least one gateway")
            .why("this host is in a cluster, and its daemons wait for the database tier, which is not in this run")
            .fix("start sf-database there, open the port between the hosts, or run for a host of the tier as well")
    } else {
        // On the first deployment the tier comes up later in the same run.
        Finding::skip(format!("no gateway accepts connections yet ({})", problems.join("; ")))
    };
    vec![found]
}

/// Whether the host has been made part of a cluster: daemons are enabled after their node is registered, never before.
fn has_joined(subject: &Subject) -> bool {
    let enabled = |daemon: &DaemonName| Path::new(WANTED).join(format!("{}.service", daemon.program()));
    DaemonName::iter().any(|daemon| subject.system.exists(&enabled(&daemon)))
}

/// PF-CLOCK.
pub(in crate::checks) fn clock(subject: &Subject) -> Vec<Finding> {
    let fix = "set up time synchronisation on this host";
    let skew = match subject.cluster.clock_skew {
        None => Finding::skip("no clock to compare with could be asked"),
        Some(skew) => {
            let got = format!("{skew:+.1} s from the database");
            let off = |finding: Finding| {
                finding.want("at most 1 s").why("logs and tokens use the host's clock").fix(fix)
            };
            match skew.abs() {
                size if size > FAIL_SKEW => off(Finding::fail(got)),
                size if size > WARN_SKEW => off(Finding::warn(got)),
                _ => Finding::pass(got),
            }
        }
    };
    vec![skew, synchronised(subject, fix)]
}

/// A program that keeps the time need not be systemd's own; all of them tell the kernel.
fn synchronised(subject: &Subject, fix: &str) -> Finding {
    let asked = subject.system.output("timedatectl", &["show", "--property", "NTPSynchronized", "--value"]);
    match asked {
        Ok(answer) if answer.trim() == "yes" => Finding::pass("the clock is synchronised"),
        Ok(_) if subject.system.exists(Path::new("/run/systemd/container")) => {
            Finding::skip("a container has the clock of its host")
        }
        Ok(_) => Finding::warn("the clock is not synchronised").want("a synchronised clock").fix(fix),
        Err(error) => Finding::skip(format!("timedatectl: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::subject::{ClusterFacts, GatewayState};
    use crate::system::fake::{FakeSystem, changed, subject, subject_of};

    fn in_cluster(cluster: ClusterFacts) -> Subject {
        Subject { cluster, ..subject(&[]) }
    }

    #[test]
    fn an_unusable_database_is_refused_with_its_reason() {
        let with = |database| in_cluster(ClusterFacts { database, ..ClusterFacts::default() });
        assert_eq!(database(&with(None))[0].level, Level::Fail);
        let refused = database(&with(Some(DatabaseState::Unusable("Access denied for user".into()))));
        assert_eq!((refused[0].level, refused[0].got.as_str()), (Level::Fail, "Access denied for user"));
        let usable =
            DatabaseState::Usable { version: "10.11.6".into(), warnings: vec!["small buffer pool".into()] };
        let found = database(&with(Some(usable)));
        assert_eq!((found[0].level, found[1].level), (Level::Pass, Level::Warn));
    }

    #[test]
    fn only_a_host_that_has_joined_misses_its_gateways() {
        let judged = |joined: bool, tier_in_run: bool, errors: &[Option<&str>]| {
            let state = |error: &Option<&str>| GatewayState {
                endpoint: "10.0.0.1:13005".into(),
                error: error.map(str::to_owned),
            };
            let enabled = Path::new(WANTED).join("sf-resources.service");
            let mut host = changed(|system| system.files.extend(joined.then(|| (enabled, String::new()))));
            host.input.settings.tier_in_run = tier_in_run;
            let gateway_states = errors.iter().map(state).collect();
            let cluster = ClusterFacts { gateways: gateway_states, ..ClusterFacts::default() };
            gateways(&Subject { cluster, ..host })[0].level
        };
        let with = |joined: bool, errors: &[Option<&str>]| judged(joined, false, errors);
        assert_eq!(with(false, &[Some("refused")]), Level::Skip, "the tier comes up in the same run");
        assert_eq!(with(true, &[Some("refused"), Some("no answer")]), Level::Fail);
        assert_eq!(with(true, &[Some("refused"), None]), Level::Pass);
        assert_eq!(judged(true, true, &[Some("refused")]), Level::Warn, "the run brings the tier back");
        assert_eq!(judged(true, true, &[None]), Level::Pass);
        assert_eq!(judged(false, true, &[Some("refused")]), Level::Skip);
    }

    #[test]
    fn clocks_may_differ_a_little() {
        for (skew, level) in [(0.4, Level::Pass), (-2.0, Level::Warn), (7.0, Level::Fail)] {
            let subject = in_cluster(ClusterFacts { clock_skew: Some(skew), ..ClusterFacts::default() });
            assert_eq!(clock(&subject)[0].level, level, "{skew}");
        }
        let mut system = FakeSystem::default();
        system.programs.insert("timedatectl".into(), "no\n".into());
        assert_eq!(clock(&subject_of(system, &[]))[1].level, Level::Warn);
    }
}
