//! Two candidates, one leader: it works, hands over when it ends, and is replaced when its lease is taken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use sf_daemon::DaemonContext;
use sf_daemon_database::testing::{LocalTier, registration, until};
use sf_gateway::CallClass;
use sf_model::{DaemonName, IncarnationId, NodeId};
use sf_runtime::Metrics;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use tempfile::TempDir;
use tokio::task::JoinHandle;

struct Candidate {
    context: DaemonContext,
    running: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Candidate {
    fn start(tier: &LocalTier) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let context = tier.context(DaemonName::Cluster, directory.path(), &[]);
        let daemon = context.clone();
        let running = tokio::spawn(async move {
            let Ok(()) = sf_daemon_cluster::run(daemon).await;
        });
        Self { context, running: Some(running), _directory: directory }
    }

    async fn end(&mut self) {
        self.context.shutdown.request();
        self.running.take().unwrap().await.unwrap();
    }
}

async fn holder(database: &TestDatabase) -> Option<String> {
    let query =
        "SELECT CAST(incarnation AS CHAR) AS value FROM cluster_locks WHERE expires_at > UTC_TIMESTAMP(6)";
    sql(query).value(&mut database.conn().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_works_and_hands_over() {
    let Some(database) = TestDatabase::start().await else { return };
    let tier = LocalTier::start(&database).await;
    let (metrics, node) = (Metrics::install().unwrap(), NodeId::random());
    let register = registration(node, "n1.test", &["resources"]);
    tier.client("resources", node).call(CallClass::Interactive, register).await.unwrap();
    let mut candidates = [Candidate::start(&tier), Candidate::start(&tier)];
    until("somebody leads", async || holder(&database).await.is_some()).await;
    let first = holder(&database).await.unwrap();
    let leads = |candidate: &Candidate, who: &str| candidate.context.incarnation.to_string() == who;
    assert!(candidates.iter().any(|candidate| leads(candidate, &first)));
    until("maintenance runs", async || {
        let done =
            "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM maintenance_runs WHERE last_success IS NOT NULL";
        sql(done).value::<u64>(&mut database.conn().await).await.unwrap().unwrap() > 0
    })
    .await;
    let shown = format!("sf_node_state{{node=\"{node}\",state=\"created\"}} 1");
    until("the leader shows its nodes", async || metrics.render().contains(&shown)).await;
    let cluster = "sf_capacity_cluster{dimension=\"cpus\",kind=\"total\"} 0";
    until("and what they can promise", async || metrics.render().contains(cluster)).await;

    // A copy of no blob is a contradiction that the leader finds at its next look.
    let stray = "INSERT INTO blob_replicas (blob_uuid, node_uuid, state, last_seen) \
         VALUES (UUID(), UUID(), 'created', UTC_TIMESTAMP(6))";
    sql(stray).run(&mut database.conn().await).await.unwrap();
    let due = "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6) WHERE task = 'check-invariants'";
    sql(due).run(&mut database.conn().await).await.unwrap();
    let found = "database_invariant_violations{check=\"replica-of-missing-blob\"} 1";
    until("the leader finds the contradiction", async || metrics.render().contains(found)).await;

    // A list that cannot be read is told, and keeps no other from being worked off.
    let streak = |list: &str| -> Option<u32> {
        let figure = "cluster_sweep_work_list_failure_streak";
        let series = format!("{figure}{{sweep=\"hard-delete\",object_type=\"{list}\"}} ");
        metrics.render().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    };
    // The other task that reads the keys would fail too.
    let later = "UPDATE maintenance_runs SET next_due = next_due + INTERVAL 1 DAY WHERE task = 'key-reap'";
    sql(later).run(&mut database.conn().await).await.unwrap();
    until("nobody is at it", async || {
        let busy = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM maintenance_runs \
             WHERE task = 'key-reap' AND running_fence IS NOT NULL";
        let busy: Option<u64> = sql(busy).value(&mut database.conn().await).await.unwrap();
        busy == Some(0)
    })
    .await;
    // Asked for with each look, as the end of a turn under way plans the next one.
    let due = "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6) WHERE task = 'hard-delete'";
    sql("RENAME TABLE namespace_keys TO away").run(&mut database.conn().await).await.unwrap();
    let gone = "UPDATE nodes SET state = 'deleted', live_fqdn = NULL, cascaded_at = state_changed_at, \
         state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 1 YEAR WHERE uuid = ?";
    sql(gone).bind(node).run(&mut database.conn().await).await.unwrap();
    until("a list fails and the last is worked off", async || {
        sql(due).run(&mut database.conn().await).await.unwrap();
        let nodes = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM nodes";
        let nodes: Option<u64> = sql(nodes).value(&mut database.conn().await).await.unwrap();
        streak("namespace_key") > Some(0) && nodes == Some(0)
    })
    .await;
    sql("RENAME TABLE away TO namespace_keys").run(&mut database.conn().await).await.unwrap();
    until("the list is worked off again", async || {
        sql(due).run(&mut database.conn().await).await.unwrap();
        streak("namespace_key") == Some(0)
    })
    .await;

    let ending = usize::from(!leads(&candidates[0], &first));
    candidates[ending].end().await;
    until("the other one leads", async || holder(&database).await.is_some_and(|who| who != first)).await;
    let second = holder(&database).await.unwrap();
    assert!(leads(&candidates[1 - ending], &second));

    // Somebody took the lock over while the leader was paused: it finds out by its fence and steps down.
    sql("UPDATE cluster_locks SET incarnation = ?, fence = fence + 100, expires_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY")
        .bind(IncarnationId::random())
        .run(&mut database.conn().await)
        .await
        .unwrap();
    let status = &candidates[1 - ending].context.status;
    until("the leader steps down", async || status.text().contains("standing by")).await;
    for figure in ["cluster_lock_acquire_seconds_count 2", "cluster_lock_lost_total{lock=\"cluster\"} 1"] {
        assert!(metrics.render().lines().any(|line| line == figure), "{figure}");
    }
    let failed =
        "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM maintenance_runs WHERE consecutive_failures > 0";
    let failed: Option<u64> = sql(failed).value(&mut database.conn().await).await.unwrap();
    assert_eq!(failed, Some(0), "no task failed");
    candidates[1 - ending].end().await;
}
