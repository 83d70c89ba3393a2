//! A database that does not answer, or does not accept writes, is never mistaken for a missing object.

use std::process::Command;
use std::time::{Duration, Instant};

use sf_daemon_database::testing::{LocalTier, until};
use sf_gateway::{CallClass, DbError, Gateway, probe};
use sf_model::NodeId;
use sf_protos::namespaces::CreateNamespaceRequest;
use sf_protos::nodes::GetNodeRequest;
use sf_store::sql::sql;
use sf_store::testing::{Server, ServerError, TestDatabase};

/// Longer than a pool waits for a session, so that every session it keeps is met in the middle of an answer.
const FROZEN: Duration = Duration::from_secs(7);
/// Calls at a time; as many as the gateway has sessions.
const CALLERS: usize = 8;
/// Calls after the outage, each of which must be answered by its own answer.
const ROUNDS: usize = 25;

async fn read(client: &Gateway) -> Result<(), DbError> {
    let request = GetNodeRequest { reference: "unknown.test".into() };
    client.call(CallClass::Interactive, request).await.map(|_| ())
}

async fn write(client: &Gateway, name: &str) -> Result<(), DbError> {
    let request = CreateNamespaceRequest { context: None, name: name.into(), key: None };
    client.call(CallClass::Interactive, request).await.map(|_| ())
}

async fn all_at_once(client: &Gateway) -> Vec<Result<(), DbError>> {
    futures::future::join_all((0..CALLERS).map(|_| read(client))).await
}

fn is_not_found(outcome: &Result<(), DbError>) -> bool {
    matches!(outcome, Err(DbError::NotFound { .. }))
}

fn is_unavailable(outcome: &Result<(), DbError>) -> bool {
    matches!(outcome, Err(DbError::DatabaseUnavailable { .. }))
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A server that a test may stop. `None` where no MariaDB is installed.
pub(crate) async fn own_server() -> Option<Server> {
    match tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap() {
        Ok(server) => Some(server),
        Err(ServerError::NotInstalled(program)) => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_a_read_only_server_are_outages_and_pass() {
    let Some(server) = own_server().await else { return };
    let database = TestDatabase::on(&server).await;
    let gateway = LocalTier::start(&database).await;
    let client = gateway.client("api", NodeId::random());
    assert!(matches!(read(&client).await, Err(DbError::NotFound { .. })));
    write(&client, "before").await.unwrap();

    let warm = all_at_once(&client).await;
    assert!(warm.iter().all(is_not_found), "{warm:?}");
    signal(server.pid().unwrap(), "STOP");
    let frozen = Instant::now();
    while frozen.elapsed() < FROZEN {
        let outcomes = all_at_once(&client).await;
        assert!(outcomes.iter().all(is_unavailable), "{outcomes:?}");
    }
    signal(server.pid().unwrap(), "CONT");
    until("reading again", async || {
        let outcome = read(&client).await;
        assert!(is_not_found(&outcome) || is_unavailable(&outcome), "{outcome:?}");
        is_not_found(&outcome)
    })
    .await;
    for _ in 0..ROUNDS {
        let outcomes = all_at_once(&client).await;
        assert!(outcomes.iter().all(is_not_found), "{outcomes:?}");
    }
    until("writing again", async || write(&client, "again").await.is_ok()).await;

    let serving = async || probe("127.0.0.1", gateway.port, Duration::from_secs(1)).await.is_ok();
    until("health is seen again", serving).await;

    let mut root = database.conn().await;
    sql("SET GLOBAL read_only = 1").run(&mut root).await.unwrap();
    until("the read-only server is noticed", async || !serving().await).await;
    // The user of the tests is root and could write all the same; the gateway refuses by what it found.
    let outcome = write(&client, "during").await;
    assert!(matches!(outcome, Err(DbError::DatabaseUnavailable { .. })), "{outcome:?}");
    assert!(matches!(read(&client).await, Err(DbError::NotFound { .. })), "reads go on");
    sql("SET GLOBAL read_only = 0").run(&mut root).await.unwrap();
    until("the server is writable again", async || write(&client, "after").await.is_ok()).await;
    let names: Vec<String> =
        sql("SELECT name AS value FROM namespaces ORDER BY name").values(&mut root).await.unwrap();
    assert_eq!(names, ["after", "again", "before"]);
}
