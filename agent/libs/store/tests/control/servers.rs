//! Private servers beside each other.

use sf_store::conn::connect;
use sf_store::sql::sql;
use sf_store::testing::{Server, ServerError};

/// A server that starts deletes the temporary tables in its directory, whosever they are.
#[tokio::test]
async fn two_servers_keep_their_temporary_tables_apart() {
    // As if a third server had it.
    let foreign = tempfile::Builder::new().prefix("#sql-temptable-").tempfile_in("/tmp").unwrap();
    let mut places = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = match Server::start(&[]) {
            Ok(server) => server,
            Err(ServerError::NotInstalled(program)) => {
                return eprintln!("skipped: {program} is not installed");
            }
            Err(error) => panic!("{error}"),
        };
        let mut conn = connect(&server.options(None)).await.unwrap();
        let place: Option<String> = sql("SELECT @@tmpdir AS value").value(&mut conn).await.unwrap();
        places.push(place.unwrap());
        servers.push(server);
    }
    assert_ne!(places[0], places[1]);
    assert!(foreign.path().exists());
}
