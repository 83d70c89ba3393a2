//! Locks: one holder at a time, strictly larger fences, no write after the lease is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use sf_model::IncarnationId;
use sf_store::locks::{self, Holder};
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use sf_store::{Fence, StoreError, reason};

fn holder(node: &str) -> Holder {
    Holder {
        node: node.into(),
        daemon: "sf-cluster".into(),
        pid: 1,
        incarnation: IncarnationId::random(),
        operation: Some("test".into()),
    }
}

async fn acquire(db: &TestDatabase, holder: &Holder) -> Option<u64> {
    let holder = Arc::new(holder.clone());
    db.run(move |conn, _| {
        let holder = holder.clone();
        Box::pin(async move { locks::acquire(conn, "cluster", &holder).await })
    })
    .await
    .unwrap()
    .fence
}

async fn expire(db: &TestDatabase) {
    let expire = sql("UPDATE cluster_locks SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 MICROSECOND");
    expire.run(&mut db.conn().await).await.unwrap();
}

fn lost(error: &StoreError) -> bool {
    matches!(error, StoreError::Precondition { reason: reason::LOCK_LOST, .. })
}

#[tokio::test]
async fn a_stale_holder_can_neither_refresh_nor_write() {
    let Some(db) = TestDatabase::start().await else { return };
    let (old, new) = (holder("a"), holder("b"));
    let first = acquire(&db, &old).await.unwrap();
    assert_eq!(acquire(&db, &old).await, Some(first), "a lost reply is repeated");
    assert_eq!(acquire(&db, &new).await, None);
    expire(&db).await;
    let mut conn = db.conn().await;
    assert_eq!(locks::refresh(&mut conn, old.incarnation, &[first]).await.unwrap(), Vec::<u64>::new());
    let second = acquire(&db, &new).await.unwrap();
    assert!(second > first);
    let stale = Fence { lock_name: "cluster".into(), fence: first };
    assert!(lost(&locks::verify(&mut conn, &stale).await.unwrap_err()));
    assert!(lost(&locks::release(&mut conn, old.incarnation, first).await.unwrap_err()));
    assert_eq!(locks::refresh(&mut conn, new.incarnation, &[first, second]).await.unwrap(), [second]);
    locks::verify(&mut conn, &Fence { lock_name: "cluster".into(), fence: second }).await.unwrap();
    let listed = locks::list(&mut conn).await.unwrap().locks;
    assert_eq!(listed[0].holder.as_ref().unwrap().node, "b");
    assert_eq!(locks::release_incarnation(&mut conn, "b", "sf-cluster", old.incarnation).await.unwrap(), 1);
    assert!(locks::list(&mut conn).await.unwrap().locks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_contenders_one_wins_each_time() {
    let Some(db) = TestDatabase::start().await else { return };
    let mut fences = BTreeSet::new();
    for _ in 0..4 {
        let contenders: Vec<_> = (0..50)
            .map(|n| {
                let db = db.clone();
                tokio::spawn(async move { acquire(&db, &holder(&n.to_string())).await })
            })
            .collect();
        let mut won = Vec::new();
        for contender in contenders {
            won.extend(contender.await.unwrap());
        }
        assert_eq!(won.len(), 1);
        assert!(fences.last().is_none_or(|last| *last < won[0]), "fences only grow");
        fences.insert(won[0]);
        expire(&db).await;
    }
}
