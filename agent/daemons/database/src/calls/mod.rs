//! Which store function does which call: one file per service, one line per call.

mod artifacts;
mod blobs;
mod config;
mod events;
mod instances;
mod locks;
mod maintenance;
mod metadata;
mod namespaces;
mod networks;
mod nodes;
mod operations;
mod renders;
mod rollout;
mod scheduler;
mod steps;
mod waits;

use crate::table::Table;

/// Binds every call.
pub(crate) fn bind(table: Table) -> Table {
    let services = [
        artifacts::bind,
        blobs::bind,
        config::bind,
        events::bind,
        instances::bind,
        locks::bind,
        maintenance::bind,
        metadata::bind,
        namespaces::bind,
        networks::bind,
        nodes::bind,
        operations::bind,
        renders::bind,
        rollout::bind,
        scheduler::bind,
        waits::bind,
    ];
    services.into_iter().fold(table, |table, bind| bind(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Gateway, GatewayParts};
    use sf_store::{ConnectOptions, Endpoint, Settings, conn};

    #[tokio::test]
    async fn every_call_is_bound() {
        let endpoint = Endpoint::Socket("/nowhere".into());
        let options =
            ConnectOptions { endpoint, user: "x".into(), password: None, database: None, tls: None };
        let (cluster, _) = sf_config::ClusterConfig::from_texts([]).unwrap();
        let gateway = Gateway::new(GatewayParts {
            pools: conn::Pools::new(&options, 1, 1),
            concurrency: 1,
            settings: Settings { cluster, fqdn: "n".to_owned() },
        });
        assert_eq!(bind(Table::new(gateway)).unbound(), Vec::<&str>::new());
    }
}
