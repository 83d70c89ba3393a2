//! The matrix of who sees what: owner, trusted, shared, stranger, administrator; lists and single reads agree.

use sf_protos::artifacts::{GetArtifactRequest, ListArtifactsRequest};
use sf_protos::networks::{GetNetworkRequest, ListNetworksRequest};
use sf_store::sql::sql;
use sf_store::{artifacts, namespaces, networks};

use super::world::{World, caller, selector};

#[tokio::test]
async fn lists_and_single_reads_follow_one_rule() {
    let Some(world) = World::start().await else { return };
    world
        .run(|conn, _| {
            Box::pin(async move {
                namespaces::ensure(conn, "trusted").await?;
                namespaces::ensure(conn, "stranger").await
            })
        })
        .await
        .unwrap();
    world.trust("a", "trusted").await;
    let private = world.artifact("a", "private", world.blob("one").await).await;
    let hidden = world.artifact("system", "hidden", world.blob("two").await).await;
    let shared = world.artifact("system", "shared", world.blob("three").await).await;
    world.execute(sql("UPDATE artifacts SET shared = TRUE WHERE uuid = ?").bind(shared)).await;
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap().uuid;
    let mut conn = world.db.conn().await;
    for (namespace, sees_private, sees_hidden, sees_shared, owns) in [
        ("a", true, false, true, true),
        ("trusted", true, false, true, false),
        ("stranger", false, false, true, false),
        ("system", true, true, true, true),
    ] {
        let list = ListArtifactsRequest { caller: caller(namespace), node_reference: None, page: None };
        let listed = artifacts::list(&mut conn, &list).await.unwrap().artifacts;
        for (id, seen) in [(private, sees_private), (hidden, sees_hidden), (shared, sees_shared)] {
            assert_eq!(listed.iter().any(|a| a.uuid == id.to_string()), seen, "{namespace} lists {id}");
            let get = GetArtifactRequest { caller: caller(namespace), selector: selector(id), owned: false };
            assert_eq!(artifacts::get(&mut conn, &get).await.is_ok(), seen, "{namespace} reads {id}");
        }
        for (id, mine) in [(private, owns), (hidden, namespace == "system"), (shared, namespace == "system")]
        {
            let get = GetArtifactRequest { caller: caller(namespace), selector: selector(id), owned: true };
            assert_eq!(artifacts::get(&mut conn, &get).await.is_ok(), mine, "{namespace} owns {id}");
        }
        // Trust gives no sight of networks.
        let list = ListNetworksRequest { caller: caller(namespace), all: false, page: None };
        let listed = networks::list(&mut conn, &world.settings, &list).await.unwrap().networks;
        assert_eq!(listed.iter().any(|n| n.uuid == network), owns, "{namespace} lists the network");
        assert_eq!(listed.iter().any(|n| n.name == "floating"), namespace == "system");
        for reference in [network.as_str(), "web"] {
            let get = GetNetworkRequest { caller: caller(namespace), selector: selector(reference) };
            let read = networks::get(&mut conn, &world.settings, &get).await;
            assert_eq!(read.is_ok(), owns, "{namespace} reads {reference}");
        }
    }
}

#[tokio::test]
async fn deleted_objects_are_read_by_uuid_and_not_by_name() {
    let Some(world) = World::start().await else { return };
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap();
    world.set_state("networks", network.uuid.parse().unwrap(), "deleted").await;
    let mut conn = world.db.conn().await;
    for (reference, found) in [(network.uuid.as_str(), true), ("web", false)] {
        let get = GetNetworkRequest { caller: caller("a"), selector: selector(reference) };
        assert_eq!(networks::get(&mut conn, &world.settings, &get).await.is_ok(), found, "{reference}");
    }
    for (all, rows) in [(false, 0), (true, 1)] {
        let list = ListNetworksRequest { caller: caller("a"), all, page: None };
        assert_eq!(networks::list(&mut conn, &world.settings, &list).await.unwrap().networks.len(), rows);
    }
}
