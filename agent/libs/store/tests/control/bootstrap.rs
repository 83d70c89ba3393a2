//! Bootstrap: twice, two at once, ended at every moment of every operation, with other input.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sf_model::{KeyId, Secret};
use sf_protos::namespaces::NewKey;
use sf_store::bootstrap::{AdminKey, Done, Input, KeyOutput, Moment, Observer, Outcome, bootstrap, plan};
use sf_store::conn::connect;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use sf_store::{ConnectOptions, Endpoint};

/// Tells a child process what to work on and when to die.
const CHILD: &str = "SF_TEST_BOOTSTRAP_CHILD";
/// Tables that hold artefacts.
const TABLES: [&str; 8] = [
    "cluster_version",
    "cluster_config",
    "namespaces",
    "namespace_keys",
    "namespace_key_scopes",
    "networks",
    "resource_pool_allocations",
    "maintenance_runs",
];

fn input(output: Option<&Path>, secret: &str) -> Input {
    let key = NewKey {
        key_uuid: KeyId::random().to_string(),
        key_name: "bootstrap".into(),
        kind: "generated".into(),
        verifier: format!("{:0>64}", hex(secret)),
        nonce: "0".repeat(32),
        scopes: vec!["*".into()],
        expires_at: None,
    };
    let secret = Secret::new(secret.to_owned());
    Input {
        fqdn: "node.test".into(),
        release: "0.1".into(),
        auth_secret_seed: None,
        wrap_seed: None,
        config: BTreeMap::from([("FLOATING_NETWORK".to_owned(), "10.9.0.0/29".to_owned())]),
        admin_key: AdminKey {
            key,
            output: output.map(|path| KeyOutput { path: path.to_path_buf(), secret }),
        },
        tasks: vec![("reap-claims".into(), 15), ("prune-events".into(), 86400)],
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn quiet() -> Observer {
    Arc::new(|_: &str, _: Moment| {})
}

async fn rows(options: &ConnectOptions, table: &str) -> Vec<String> {
    let mut conn = connect(options).await.unwrap();
    let columns = format!(
        "SELECT GROUP_CONCAT(CONCAT('COALESCE(`', column_name, '`, \"-\")') ORDER BY column_name) AS value \
         FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{table}'"
    );
    let columns: Option<String> = sql(columns).value(&mut conn).await.unwrap();
    let query = format!("SELECT CONCAT_WS(' ', {}) AS value FROM {table} ORDER BY 1", columns.unwrap());
    sql(query).values(&mut conn).await.unwrap()
}

async fn dump(options: &ConnectOptions) -> Vec<String> {
    let mut all = Vec::new();
    for table in TABLES.iter().chain(&["bootstrap_operations"]) {
        all.extend(rows(options, table).await.into_iter().map(|row| format!("{table} {row}")));
    }
    all
}

/// Number of artefacts per table: what must be the same however often bootstrap was interrupted.
async fn census(options: &ConnectOptions) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for table in TABLES.iter().chain(&["bootstrap_operations"]) {
        all.push(((*table).to_owned(), rows(options, table).await.len()));
    }
    all
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_the_secret_is_written_once() {
    let Some(db) = TestDatabase::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let first = bootstrap(&db.options, &input(Some(&file), "first"), &quiet()).await.unwrap();
    assert!(first.iter().all(|done| done.outcome == Outcome::Created), "{first:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "first\n");
    let before = dump(&db.options).await;
    let second = bootstrap(&db.options, &input(Some(&file), "second"), &quiet()).await.unwrap();
    assert!(second.iter().all(|done| done.outcome == Outcome::AlreadyDone), "{second:?}");
    assert_eq!(dump(&db.options).await, before);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "first\n");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
}

#[tokio::test]
async fn other_input_is_told_and_changes_nothing() {
    let Some(db) = TestDatabase::start().await else { return };
    bootstrap(&db.options, &input(None, "a"), &quiet()).await.unwrap();
    let before = dump(&db.options).await;
    let mut other = input(None, "b");
    other.config.insert("FLOATING_NETWORK".into(), "10.10.0.0/24".into());
    let done = bootstrap(&db.options, &other, &quiet()).await.unwrap();
    let different: Vec<&Done> =
        done.iter().filter(|d| d.outcome == Outcome::AlreadyDoneDifferently).collect();
    assert_eq!(different.len(), 1, "{different:?}");
    assert_eq!(different[0].operation, "config/FLOATING_NETWORK");
    assert_eq!(dump(&db.options).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_make_one_cluster() {
    let Some(db) = TestDatabase::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let (one, other) = (input(Some(&file), "one"), input(Some(&file), "other"));
    let (watch, watch_other) = (quiet(), quiet());
    let (first, second) =
        tokio::join!(bootstrap(&db.options, &one, &watch), bootstrap(&db.options, &other, &watch_other));
    let (first, second) = (first.unwrap(), second.unwrap());
    for (a, b) in first.iter().zip(&second) {
        let made = [a, b].iter().filter(|done| done.outcome == Outcome::Created).count();
        assert_eq!(made, 1, "{a:?} {b:?}");
        assert_eq!(a.artefact, b.artefact, "both know what exists");
    }
    let made_by_first =
        first.iter().any(|d| d.operation.starts_with("key/") && d.outcome == Outcome::Created);
    let secret = if made_by_first { "one\n" } else { "other\n" };
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// Not a test by itself: the process that [`a_killed_run_is_completed`] starts.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_dies() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = order.split(' ').collect();
    let options = ConnectOptions {
        endpoint: Endpoint::Socket(parts[0].into()),
        user: "root".into(),
        password: None,
        database: Some(parts[1].into()),
        tls: None,
    };
    let (operation, moment) = (parts[2].to_owned(), parts[3].to_owned());
    let die: Observer = Arc::new(move |name: &str, now: Moment| {
        if name == operation && format!("{now:?}") == moment {
            std::process::abort();
        }
    });
    bootstrap(&options, &input(Some(Path::new(parts[4])), "child"), &die).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_completed() {
    let Some(whole) = TestDatabase::start().await else { return };
    let names: Vec<String> = bootstrap(&whole.options, &input(None, "whole"), &quiet())
        .await
        .unwrap()
        .into_iter()
        .map(|done| done.operation)
        .collect();
    let expected = census(&whole.options).await;
    for operation in &names {
        for moment in [Moment::Recorded, Moment::Written, Moment::Committed] {
            let Some(db) = TestDatabase::start().await else { return };
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("key");
            let Endpoint::Socket(socket) = &db.options.endpoint else { panic!("a socket was expected") };
            let database = db.options.database.as_deref().unwrap();
            let order = format!("{} {database} {operation} {moment:?} {}", socket.display(), file.display());
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "bootstrap::child_that_dies"])
                .env(CHILD, order)
                .output()
                .unwrap();
            assert!(!child.status.success(), "the child was to die at {operation} {moment:?}");
            // Never an artefact without its row: what is recorded is a prefix of the operations.
            let recorded = rows(&db.options, "bootstrap_operations").await.len();
            let at = names.iter().position(|name| name == operation).unwrap();
            assert_eq!(recorded, at + usize::from(moment == Moment::Committed), "{operation} {moment:?}");
            bootstrap(&db.options, &input(Some(&file), "again"), &quiet()).await.unwrap();
            assert_eq!(census(&db.options).await, expected, "{operation} {moment:?}");
            let written = std::fs::read_to_string(&file).unwrap();
            let key: Option<String> = sql("SELECT verifier AS value FROM namespace_keys")
                .value(&mut connect(&db.options).await.unwrap())
                .await
                .unwrap();
            assert_eq!(
                key.unwrap(),
                format!("{:0>64}", hex(written.trim())),
                "the file holds the valid secret"
            );
        }
    }
}

#[tokio::test]
async fn a_plan_changes_nothing_and_a_key_set_by_hand_is_left_alone() {
    let Some(db) = TestDatabase::start().await else { return };
    let planned = plan(&db.options, &input(None, "a")).await.unwrap();
    assert!(planned.iter().all(|done| done.outcome == Outcome::WouldCreate), "{planned:?}");
    assert!(rows(&db.options, "bootstrap_operations").await.is_empty());
    sql("INSERT INTO cluster_config (key_name, value_text, is_secret, version, updated_at, updated_by) \
         VALUES ('FLOATING_NETWORK', '10.9.0.0/28', FALSE, 1, UTC_TIMESTAMP(6), 'hand')")
    .run(&mut db.conn().await)
    .await
    .unwrap();
    let done = bootstrap(&db.options, &input(None, "a"), &quiet()).await.unwrap();
    let by_hand = done.iter().find(|done| done.operation == "config/FLOATING_NETWORK").unwrap();
    assert_eq!(by_hand.outcome, Outcome::AlreadyDoneDifferently);
    // A plan says what the next run does: nothing, also to a secret that a cluster begins with.
    let mut again = input(None, "a");
    again.config.insert("TRANSFER_SECRET".to_owned(), "an operator's own".to_owned());
    let planned = plan(&db.options, &again).await.unwrap();
    let open: Vec<&Done> = planned.iter().filter(|done| done.outcome == Outcome::WouldCreate).collect();
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(bootstrap(&db.options, &again, &quiet()).await.unwrap(), planned);
}

#[tokio::test]
async fn a_seed_in_the_open_is_encrypted_once_a_key_is_given() {
    let Some(db) = TestDatabase::start().await else { return };
    let seed = "SELECT value_text AS value FROM cluster_config WHERE key_name = 'AUTH_SECRET_SEED'";
    let stored = || async {
        let mut conn = connect(&db.options).await.unwrap();
        sql(seed).value::<String>(&mut conn).await.unwrap().unwrap()
    };
    bootstrap(&db.options, &input(None, "a"), &quiet()).await.unwrap();
    let open = stored().await;
    assert_eq!(open.len(), 44);
    let mut with_key = input(None, "a");
    with_key.wrap_seed = Some(Arc::new(|text: &str| Ok(format!("kek1:test:{text}"))));
    let done = bootstrap(&db.options, &with_key, &quiet()).await.unwrap();
    let made: Vec<&str> =
        done.iter().filter(|d| d.outcome == Outcome::Created).map(|d| d.operation.as_str()).collect();
    assert_eq!(made, ["kek/AUTH_SECRET_SEED"]);
    assert_eq!(stored().await, format!("kek1:test:{open}"));
    bootstrap(&db.options, &with_key, &quiet()).await.unwrap();
    assert_eq!(stored().await, format!("kek1:test:{open}"), "it is not encrypted twice");
}
