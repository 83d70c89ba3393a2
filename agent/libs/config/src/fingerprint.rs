//! What a daemon's configuration comes to, so that a running one can be compared with the files of now.

use sf_model::DaemonName;
use sha2::{Digest, Sha256};

use crate::show::Table;
use crate::spec::KeySpec;
use crate::tables::{DatabaseConfig, NodeConfig};

/// Digests of the keys that a daemon uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Keys that take effect with a restart.
    pub fixed: String,
    /// Keys that take effect when the files are read again.
    pub live: String,
}

/// The keys that a daemon uses, with their values in clear. `database` is given for the tier alone.
pub fn effective(
    daemon: DaemonName,
    node: &NodeConfig,
    database: Option<&DatabaseConfig>,
) -> Vec<(&'static KeySpec, String)> {
    let name = daemon.to_string();
    let mut rows: Vec<_> = node.rows().into_iter().filter(|(spec, _)| spec.flags.concerns(&name)).collect();
    rows.extend(database.map(Table::rows).unwrap_or_default());
    rows
}

/// The digests of what a daemon uses. Defaults count: a release with another default is another configuration.
pub fn fingerprint(daemon: DaemonName, node: &NodeConfig, database: Option<&DatabaseConfig>) -> Fingerprint {
    let (live, fixed): (Vec<_>, Vec<_>) =
        effective(daemon, node, database).into_iter().partition(|(spec, _)| spec.flags.live);
    Fingerprint { fixed: digest(&fixed), live: digest(&live) }
}

fn digest(rows: &[(&'static KeySpec, String)]) -> String {
    let mut hash = Sha256::new();
    for (spec, text) in rows {
        // Lengths keep two rows apart whatever they hold.
        hash.update(format!("{}:{}:{text}\n", spec.name, text.len()));
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(extra: &[(&str, &str)]) -> NodeConfig {
        let base = [("node_mesh_ip", "10.0.0.1"), ("mariadb_gateway_hosts", "a"), ("node_name", "n")];
        NodeConfig::from_pairs(&[&base, extra].concat()).unwrap()
    }

    #[test]
    fn a_change_concerns_the_daemons_that_use_the_key() {
        let print = |daemon, extra: &[(&str, &str)]| fingerprint(daemon, &node(extra), None);
        for (key, value, concerned, other) in [
            ("api_port", "13100", DaemonName::Api, DaemonName::Queues),
            ("instance_workers", "3", DaemonName::Queues, DaemonName::Api),
        ] {
            assert_ne!(print(concerned, &[(key, value)]), print(concerned, &[]), "{key}");
            assert_eq!(print(other, &[(key, value)]), print(other, &[]), "{key}");
        }
        let common = &[("mariadb_gateway_hosts", "a,b")];
        assert_ne!(print(DaemonName::Net, common).fixed, print(DaemonName::Net, &[]).fixed);
    }

    #[test]
    fn a_live_key_changes_the_live_digest_alone() {
        let (quiet, loud) = (node(&[]), node(&[("loglevel_api", "debug")]));
        let (before, after) =
            (fingerprint(DaemonName::Api, &quiet, None), fingerprint(DaemonName::Api, &loud, None));
        assert_eq!(before.fixed, after.fixed);
        assert_ne!(before.live, after.live);
    }

    #[test]
    fn the_tier_depends_on_its_own_file_too() {
        let tier = |pool: &str| {
            let pairs = [("mariadb_host", "db"), ("database_pool_size", pool)];
            let given = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let sources = crate::Sources {
                environment: Default::default(),
                command_line: given,
                ..crate::Sources::in_directory(std::path::Path::new("/nowhere"))
            };
            crate::load_database(&sources).unwrap().config
        };
        let print = |pool| fingerprint(DaemonName::Database, &node(&[]), Some(&tier(pool)));
        assert_ne!(print("16"), print("17"));
    }
}
