//! Lists cost the same number of statements whatever their length, and pages neither lose nor repeat.

use sf_protos::artifacts::ListArtifactsRequest;
use sf_protos::blobs::ListBlobsRequest;
use sf_protos::common::PageRequest;
use sf_protos::namespaces::ListNamespacesRequest;
use sf_protos::networks::ListNetworksRequest;
use sf_store::sql::sql;
use sf_store::statements::count;
use sf_store::{artifacts, blobs, namespaces, networks};

use super::world::{World, caller};

/// Statements of each list, with how many rows it answered.
async fn costs(world: &World) -> Vec<(&'static str, usize, u64)> {
    let mut conn = world.db.conn().await;
    let page = None;
    let (listed, artifacts) = count(artifacts::list(
        &mut conn,
        &ListArtifactsRequest { caller: caller("a"), node_reference: None, page: page.clone() },
    ))
    .await;
    let artifacts = ("artifacts", listed.unwrap().artifacts.len(), artifacts);
    let (listed, blobs) = count(blobs::list(
        &mut conn,
        &ListBlobsRequest { caller: caller("system"), node_reference: None, page: page.clone() },
    ))
    .await;
    let blobs = ("blobs", listed.unwrap().blobs.len(), blobs);
    let request = ListNetworksRequest { caller: caller("a"), all: false, page: page.clone() };
    let (listed, networks) = count(networks::list(&mut conn, &world.settings, &request)).await;
    let networks = ("networks", listed.unwrap().networks.len(), networks);
    let (listed, namespaces) =
        count(namespaces::list(&mut conn, &ListNamespacesRequest { caller: caller("system"), page })).await;
    vec![artifacts, blobs, networks, ("namespaces", listed.unwrap().namespaces.len(), namespaces)]
}

/// One of each kind, and `more` copies of their rows: what is counted is reading them. With metadata of so many bytes.
async fn multiply(world: &World, more: usize, bytes: usize) -> Vec<(&'static str, usize, u64)> {
    let blob = world.blob("first").await;
    let artifact = world.artifact("a", "first", blob).await;
    let network = world.network("a", "first", "10.0.0.0/24").await.unwrap();
    let few = costs(world).await;
    for index in 1..more {
        let uuid = uuid::Uuid::new_v4();
        for (table, original) in [
            ("blobs", blob.to_string()),
            ("artifacts", artifact.to_string()),
            ("networks", network.uuid.clone()),
        ] {
            let columns = world
                .text(&format!(
                    "SELECT GROUP_CONCAT(column_name) FROM information_schema.columns WHERE table_schema = DATABASE() \
                     AND table_name = '{table}' AND column_name NOT IN ('uuid', 'live_key', 'live_vxid')"
                ))
                .await;
            world
                .execute(
                    sql(format!("INSERT INTO {table} (uuid, {columns}) SELECT ?, {columns} FROM {table} WHERE uuid = ?"))
                        .bind(uuid)
                        .bind(&original),
                )
                .await;
        }
        world.execute(sql("INSERT INTO artifact_versions (artifact_uuid, idx, blob_uuid, created_at) VALUES (?, 1, ?, UTC_TIMESTAMP(6))").bind(uuid).bind(uuid)).await;
        let name = format!("n{index}");
        for (object_type, id) in [
            ("artifact", uuid.to_string()),
            ("blob", uuid.to_string()),
            ("network", uuid.to_string()),
            ("namespace", name.clone()),
        ] {
            let entry = sql("INSERT INTO object_metadata VALUES (?, ?, 'k', ?, UTC_TIMESTAMP(6))");
            world.execute(entry.bind(object_type).bind(id).bind("1".repeat(bytes))).await;
        }
        world.execute(sql("INSERT INTO namespaces (name, state, state_changed_at, created_at, version) VALUES (?, 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)").bind(name)).await;
    }
    few
}

#[tokio::test]
async fn two_hundred_cost_what_one_costs() {
    let Some(world) = World::start().await else { return };
    let few = multiply(&world, 200, 1).await;
    let many = costs(&world).await;
    for ((what, rows, statements), (_, more_rows, more_statements)) in few.iter().zip(&many) {
        assert!(*more_rows >= 200 && *rows < 5, "{what}: {rows} and {more_rows} rows");
        assert_eq!(statements, more_statements, "{what}");
        assert!(*statements <= 6, "{what} takes {statements} statements");
    }
}

#[tokio::test]
async fn heavy_rows_make_short_pages() {
    let Some(world) = World::start().await else { return };
    multiply(&world, 12, 250 << 10).await;
    for (what, rows, _) in costs(&world).await {
        // Four of them are a page; some rows without metadata are among those.
        assert!((3..9).contains(&rows), "{what}: {rows} rows");
    }
}

#[tokio::test]
async fn pages_neither_lose_nor_repeat() {
    let Some(world) = World::start().await else { return };
    for index in 0..7 {
        world.network("a", &format!("n{index}"), "10.0.0.0/24").await.unwrap();
    }
    // Equal times: the UUID decides.
    world.execute(sql("UPDATE networks SET created_at = '2026-01-01 00:00:00' WHERE kind = 'vxlan'")).await;
    let mut seen = Vec::new();
    let mut token = None;
    let mut conn = world.db.conn().await;
    loop {
        let request = ListNetworksRequest {
            caller: caller("a"),
            all: false,
            page: Some(PageRequest { limit: 3, token: token.clone() }),
        };
        let reply = networks::list(&mut conn, &world.settings, &request).await.unwrap();
        assert!(reply.networks.len() <= 3);
        seen.extend(reply.networks.into_iter().map(|n| n.uuid));
        let page = reply.page.unwrap();
        if !page.more {
            break;
        }
        token = Some(page.next_token);
    }
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((seen.len(), distinct.len()), (7, 7));
}
