//! What the cluster and its database say to a host that may join.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sf_config::DatabaseConfig;
use sf_daemon::{NodeIdentity, Release};
use sf_gateway::{CallClass, DbError};
use sf_preflight::{ClusterFacts, DatabaseState, GatewayState, Input};
use sf_protos::config::{GetClusterConfigRequest, GetClusterVersionRequest};
use sf_protos::convert::unix_seconds;
use sf_protos::nodes::GetNodeRequest;
use sf_store::compat::{self, Purpose};
use sf_store::migrate::{self, SchemaError};
use sf_store::sql::sql;
use sf_store::{ConnectOptions, config, conn};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ctl::client;

/// Time for one connection, and for everything asked of MariaDB.
const CONNECT: Duration = Duration::from_secs(3);
const DATABASE: Duration = Duration::from_secs(20);

/// Asks whoever can be asked. What nobody answers stays unknown.
pub(super) async fn gather(input: &Input) -> ClusterFacts {
    let mut facts = ClusterFacts { gateways: gateways(input).await, ..ClusterFacts::default() };
    match NodeIdentity::known(&input.node) {
        Ok(identity) => facts.own_uuid = identity.map(|identity| identity.uuid.to_string()),
        Err(error) => facts.identity_problem = Some(error.to_string()),
    }
    if let Some(database) = &input.database {
        let asked = timeout(DATABASE, ask_database(input, database, &mut facts)).await;
        let late = || format!("MariaDB did not answer within {} s", DATABASE.as_secs());
        facts.database = Some(match asked {
            Ok(Ok(state)) => state,
            Ok(Err(problem)) => DatabaseState::Unusable(problem),
            Err(_) => DatabaseState::Unusable(late()),
        });
    }
    if facts.gateways.iter().any(|gateway| gateway.error.is_none()) {
        // A gateway that refuses to say more leaves the rest unknown.
        let _ = ask_gateways(input, &mut facts).await;
    }
    facts
}

async fn gateways(input: &Input) -> Vec<GatewayState> {
    let mut states = Vec::new();
    for (host, port) in input.node.gateway_endpoints() {
        let error = match timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", CONNECT.as_secs())),
        };
        states.push(GatewayState { endpoint: format!("{host}:{port}"), error });
    }
    states
}

async fn ask_database(
    input: &Input,
    database: &DatabaseConfig,
    facts: &mut ClusterFacts,
) -> Result<DatabaseState, String> {
    let mut options = ConnectOptions::runtime(database).map_err(|error| error.to_string())?;
    if let Some(password) = &input.password {
        options.password = Some(Arc::new(sf_config::Secret::new(password.expose().clone())));
    }
    let purpose = Purpose::Gateway { pool_size: database.database_pool_size };
    let report = compat::check(&options, purpose).await.map_err(|error| error.to_string())?;
    let mut session = conn::connect(&options).await.map_err(|error| error.to_string())?;
    let before = now();
    let clock = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE) AS value";
    let clock: Option<f64> = sql(clock).value(&mut session).await.map_err(|error| error.to_string())?;
    facts.clock_skew = clock.map(|clock| clock - (before + now()) / 2.0);
    match migrate::check_window(&mut session).await {
        Err(error @ SchemaError::TooOld { .. }) => facts.version_problem = Some(error.to_string()),
        // A schema that is behind, or not there, is brought up by the same deployment.
        _ => facts.release = config::cluster_release(&mut session).await.ok().flatten(),
    }
    judge_release(facts);
    Ok(DatabaseState::Usable { version: report.version, warnings: report.warnings })
}

async fn ask_gateways(input: &Input, facts: &mut ClusterFacts) -> Result<(), DbError> {
    let Ok(gateway) = client(&input.node) else { return Ok(()) };
    let version = gateway.call(CallClass::Interactive, GetClusterVersionRequest {}).await?;
    facts.release = Some(version.release);
    judge_release(facts);
    if facts.clock_skew.is_none() {
        let before = now();
        let request = GetClusterConfigRequest { daemon: "ctl".to_owned() };
        let reply = gateway.call(CallClass::Interactive, request).await?;
        let clock = reply.database_time.as_ref().map(unix_seconds);
        facts.clock_skew = clock.map(|clock| clock - (before + now()) / 2.0);
    }
    let request = GetNodeRequest { reference: input.node.node_name.clone() };
    match gateway.call(CallClass::Interactive, request).await {
        Ok(reply) => facts.name_holder = reply.node.map(|node| node.uuid),
        Err(DbError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    facts.name_asked = true;
    Ok(())
}

fn judge_release(facts: &mut ClusterFacts) {
    let misfit = facts.release.as_deref().and_then(|release| Release::own().check(release).err());
    facts.version_problem = facts.version_problem.take().or(misfit.map(|error| error.to_string()));
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
