//! Cluster configuration: checked as a whole, audited, secrets for their readers only.

use std::collections::BTreeMap;

use sf_store::config::{self, SetMode};
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use sf_store::{StoreError, StoreResult};

async fn set(
    db: &TestDatabase,
    key: &'static str,
    value: &'static str,
    check_only: bool,
) -> StoreResult<Vec<String>> {
    db.run(move |conn, ctx| {
        Box::pin(async move {
            let values = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            config::set(conn, ctx, &values, SetMode { check_only, purge: false }).await
        })
    })
    .await
}

#[tokio::test]
async fn keys_are_checked_canonical_and_audited() {
    let Some(db) = TestDatabase::start().await else { return };
    assert_eq!(set(&db, "cleaner_delay", "0077", false).await.unwrap(), ["CLEANER_DELAY"]);
    assert!(set(&db, "CLEANER_DELAY", "77", false).await.unwrap().is_empty(), "equal after all");
    assert_eq!(set(&db, "CLEANER_DELAY", "78", true).await.unwrap(), ["CLEANER_DELAY"]);
    let mut conn = db.conn().await;
    let stored: Option<String> =
        sql("SELECT value_text AS value FROM cluster_config").value(&mut conn).await.unwrap();
    assert_eq!(stored.as_deref(), Some("77"), "a check changes nothing");
    for (key, value) in
        [("CLEANER_DELAY", "soon"), ("NODE_NAME", "x"), ("NO_SUCH_KEY", "1"), ("CLUSTER_ID", "x")]
    {
        let outcome = set(&db, key, value, false).await;
        assert!(matches!(outcome, Err(StoreError::Invalid(_))), "{key}: {outcome:?}");
    }
    // Each value is fine by itself; together they make no configuration.
    let outcome = set(&db, "FLOATING_ROUTER", "10.0.0.1", false).await;
    assert!(matches!(outcome, Err(StoreError::Invalid(_))), "{outcome:?}");
    let audits: Vec<String> =
        sql("SELECT CAST(extra AS CHAR) AS value FROM events").values(&mut conn).await.unwrap();
    assert_eq!(audits.len(), 1);
    assert!(audits[0].contains("cleaner_delay") && audits[0].contains("77"), "{audits:?}");
    assert_eq!(config::settings(&mut conn, "n").await.unwrap().cleaner_delay.as_secs(), 77);
}

#[tokio::test]
async fn a_purge_keeps_what_is_named_and_what_bootstrap_made() {
    let Some(db) = TestDatabase::start().await else { return };
    for (key, value) in [("CLEANER_DELAY", "77"), ("API_TIMEOUT", "40"), ("AUTH_SECRET_SEED", "hidden-value")]
    {
        set(&db, key, value, false).await.unwrap();
    }
    let purge = |check_only| {
        db.run(move |conn, ctx| {
            Box::pin(async move {
                let values = BTreeMap::from([("API_TIMEOUT".to_owned(), "41".to_owned())]);
                config::set(conn, ctx, &values, SetMode { check_only, purge: true }).await
            })
        })
    };
    assert_eq!(purge(true).await.unwrap(), ["CLEANER_DELAY", "API_TIMEOUT"]);
    assert_eq!(purge(false).await.unwrap(), ["CLEANER_DELAY", "API_TIMEOUT"]);
    assert!(purge(false).await.unwrap().is_empty());
    let kept: Vec<String> = sql("SELECT key_name AS value FROM cluster_config ORDER BY key_name")
        .values(&mut db.conn().await)
        .await
        .unwrap();
    assert_eq!(kept, ["API_TIMEOUT", "AUTH_SECRET_SEED"]);
}

#[tokio::test]
async fn a_secret_reaches_its_readers_and_nothing_else() {
    let Some(db) = TestDatabase::start().await else { return };
    set(&db, "AUTH_SECRET_SEED", "hidden-value", false).await.unwrap();
    let mut conn = db.conn().await;
    for (daemon, seen) in [("api", "hidden-value"), ("transfers", ""), ("net", ""), ("ctl", "")] {
        let reply = config::read(&mut conn, daemon).await.unwrap();
        let entry = reply.entries.iter().find(|entry| entry.key == "AUTH_SECRET_SEED").unwrap();
        assert_eq!((entry.value.as_str(), entry.secret), (seen, true), "{daemon}");
    }
    let leaked = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM events \
         WHERE message LIKE '%hidden-value%' OR extra LIKE '%hidden-value%'";
    assert_eq!(sql(leaked).value::<u64>(&mut conn).await.unwrap(), Some(0));
    assert!(config::settings(&mut conn, "n").await.unwrap().auth_secret_seed.is_none());
}
