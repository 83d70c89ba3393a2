//! Schema runs: twice, two at once, killed in between; servers and builds that do not fit.

use std::process::Command;

use diesel_async::SimpleAsyncConnection;
use sf_store::conn::connect;
use sf_store::migrate::{self, Progress, SchemaError, ensure_schema};
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use sf_store::{ConnectOptions, Endpoint};

/// Tells a child process of this test which socket and database to work on, and after how many steps to die.
const CHILD: &str = "SF_TEST_SCHEMA_CHILD";

/// Everything that makes up the schema, in one text.
async fn dump(options: &ConnectOptions) -> String {
    let mut conn = connect(options).await.unwrap();
    let columns = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, column_default, extra) \
         AS value FROM information_schema.columns WHERE table_schema = DATABASE() \
         ORDER BY table_name, ordinal_position";
    let keys = "SELECT CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name, non_unique) AS value \
         FROM information_schema.statistics WHERE table_schema = DATABASE() \
         ORDER BY table_name, index_name, seq_in_index";
    let history =
        "SELECT CONCAT_WS(' ', version, name, checksum) AS value FROM schema_history ORDER BY version";
    let mut lines: Vec<String> = Vec::new();
    for query in [columns, keys, history] {
        lines.extend(sql(query).values::<String>(&mut conn).await.unwrap());
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let Some(db) = TestDatabase::empty().await else { return };
    let planned = migrate::plan(&db.options).await.unwrap();
    assert_eq!(planned.applied.len(), migrate::STEPS.len());
    let mut told = Vec::new();
    let first = ensure_schema(&db.options, &mut |step| told.push(step)).await.unwrap();
    assert_eq!(first, planned);
    assert_eq!(told.len(), 2 * migrate::STEPS.len());
    let before = dump(&db.options).await;
    assert_eq!(before.lines().filter(|line| line.starts_with("bootstrap_operations ")).count(), 8);
    let second = ensure_schema(&db.options, &mut |_| panic!("nothing is left to do")).await.unwrap();
    assert!(second.applied.is_empty());
    assert_eq!(dump(&db.options).await, before);
    let version = migrate::check_window(&mut db.conn().await).await.unwrap();
    assert_eq!(version.schema_version, migrate::built_version());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_take_turns() {
    let Some(db) = TestDatabase::empty().await else { return };
    let mut none = |_: Progress| {};
    let mut none_either = |_: Progress| {};
    let (one, other) =
        tokio::join!(ensure_schema(&db.options, &mut none), ensure_schema(&db.options, &mut none_either));
    let applied = [one.unwrap().applied.len(), other.unwrap().applied.len()];
    assert_eq!(applied.iter().sum::<usize>(), migrate::STEPS.len(), "{applied:?}");
}

/// Not a test by itself: the process that [`a_killed_run_is_completed`] starts.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_dies() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (options, steps) = unpack(&order);
    let mut seen = 0;
    let mut die = |progress: Progress| {
        seen += 1;
        // Between two steps, and in odd cases in the middle of one: after the announcement.
        if seen == steps || matches!(progress, Progress::Applied(..)) && seen > steps {
            std::process::abort();
        }
    };
    ensure_schema(&options, &mut die).await.unwrap();
}

fn unpack(order: &str) -> (ConnectOptions, usize) {
    let parts: Vec<&str> = order.split(' ').collect();
    let endpoint = Endpoint::Socket(parts[0].into());
    let options = ConnectOptions {
        endpoint,
        user: "root".into(),
        password: None,
        database: Some(parts[1].into()),
        tls: None,
    };
    (options, parts[2].parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_completed() {
    let Some(whole) = TestDatabase::start().await else { return };
    let expected = dump(&whole.options).await;
    for steps in [1, 2, 3, 4, 5, 17, 40] {
        let Some(db) = TestDatabase::empty().await else { return };
        let Endpoint::Socket(socket) = &db.options.endpoint else { panic!("a socket was expected") };
        let order = format!("{} {} {steps}", socket.display(), db.options.database.as_deref().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "schema::child_that_dies"])
            .env(CHILD, order)
            .output()
            .unwrap();
        assert!(!child.status.success(), "the child was to die after {steps} steps");
        ensure_schema(&db.options, &mut |_| {}).await.unwrap();
        assert_eq!(dump(&db.options).await, expected, "killed after {steps} steps");
    }
}

#[tokio::test]
async fn foreign_tables_and_changed_migrations_are_refused() {
    let Some(db) = TestDatabase::empty().await else { return };
    db.conn().await.batch_execute("CREATE TABLE theirs (id INT)").await.unwrap();
    let refused = ensure_schema(&db.options, &mut |_| {}).await;
    assert!(matches!(refused, Err(SchemaError::Foreign { tables: 1, .. })), "{refused:?}");

    let Some(db) = TestDatabase::start().await else { return };
    let forge = "UPDATE schema_history SET checksum = REPEAT('0', 64) WHERE version = 3";
    db.conn().await.batch_execute(forge).await.unwrap();
    let refused = ensure_schema(&db.options, &mut |_| {}).await;
    assert!(matches!(refused, Err(SchemaError::Changed("0003_cluster_version"))), "{refused:?}");
}

#[tokio::test]
async fn versions_outside_the_window_are_refused() {
    let Some(db) = TestDatabase::start().await else { return };
    let mut conn = db.conn().await;
    let built = migrate::built_version();
    for (recorded, oldest, fits) in
        [(built, 1, true), (built + 1, built, true), (built + 9, built + 1, false), (built - 1, 1, false)]
    {
        let write = "UPDATE schema_meta SET schema_version = ?, oldest_compatible = ?";
        sql(write).bind(recorded).bind(oldest).run(&mut conn).await.unwrap();
        let outcome = migrate::check_window(&mut conn).await;
        assert_eq!(outcome.is_ok(), fits, "recorded {recorded}, oldest {oldest}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_fit_is_refused_with_every_reason() {
    let Some(db) = TestDatabase::empty().await else { return };
    let name = db.options.database.clone().unwrap();
    db.conn().await.batch_execute(&format!("ALTER DATABASE {name} CHARACTER SET latin1")).await.unwrap();
    let refused = ensure_schema(&db.options, &mut |_| {}).await;
    let Err(SchemaError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert_eq!(found.problems.len(), 2, "{found}");
    assert!(found.to_string().contains("latin1_swedish_ci"), "{found}");
    let tables = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM information_schema.tables \
         WHERE table_schema = DATABASE()";
    assert_eq!(sql(tables).value::<u64>(&mut db.conn().await).await.unwrap(), Some(0));
}
