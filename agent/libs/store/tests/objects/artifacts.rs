//! Artifacts: versions and their limit, deletion, sharing.

use sf_model::ArtifactId;
use sf_protos::artifacts::{
    Artifact, DeleteArtifactRequest, DeleteArtifactVersionRequest, DeleteNamespaceArtifactsRequest,
    GetArtifactRequest, SetMaxVersionsRequest, SetSharedRequest,
};
use sf_store::{StoreError, StoreResult, artifacts};

use super::world::{World, caller, selector};

async fn get(world: &World, namespace: &str, reference: impl ToString) -> StoreResult<Artifact> {
    let request =
        GetArtifactRequest { caller: caller(namespace), selector: selector(reference), owned: false };
    let mut conn = world.db.conn().await;
    Ok(artifacts::get(&mut conn, &request).await?.artifact.unwrap())
}

fn indexes(artifact: &Artifact) -> Vec<u32> {
    artifact.versions.iter().map(|v| v.index).collect()
}

async fn blob_state(world: &World, blob: &str) -> String {
    world.text(&format!("SELECT state FROM blobs WHERE uuid = '{blob}'")).await
}

#[tokio::test]
async fn the_oldest_versions_go_first() {
    let Some(world) = World::start().await else { return };
    let mut blobs = Vec::new();
    let mut id = ArtifactId::random();
    for content in ["one", "two", "three", "four"] {
        let blob = world.blob(content).await;
        world.execute(sf_store::sql::sql("DELETE FROM blob_references WHERE kind = 'pin'")).await;
        id = world.artifact("a", "web", blob).await;
        blobs.push(blob.to_string());
    }
    let artifact = get(&world, "a", id).await.unwrap();
    assert_eq!(
        (indexes(&artifact), artifact.state.as_ref().unwrap().state.as_str()),
        (vec![2, 3, 4], "created")
    );
    assert_eq!(blob_state(&world, &blobs[0]).await, "deleted");
    // The newest again adds nothing.
    world.artifact("a", "web", blobs[3].parse().unwrap()).await;
    assert_eq!(indexes(&get(&world, "a", id).await.unwrap()), [2, 3, 4]);

    let request = SetMaxVersionsRequest {
        caller: caller("a"),
        selector: selector("web"),
        max_versions: 1,
        ..SetMaxVersionsRequest::default()
    };
    let pruned = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::set_max_versions(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(indexes(&pruned.artifact.unwrap()), [4]);
    let states = [
        blob_state(&world, &blobs[1]).await,
        blob_state(&world, &blobs[2]).await,
        blob_state(&world, &blobs[3]).await,
    ];
    assert_eq!(states, ["deleted", "deleted", "created"]);
}

async fn delete_version(world: &World, index: u32) -> StoreResult<Artifact> {
    let request = DeleteArtifactVersionRequest {
        caller: caller("a"),
        selector: selector("web"),
        index,
        ..DeleteArtifactVersionRequest::default()
    };
    let reply = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::delete_version(conn, ctx, &request).await })
        })
        .await?;
    Ok(reply.artifact.unwrap())
}

#[tokio::test]
async fn the_last_version_takes_the_artifact_with_it() {
    let Some(world) = World::start().await else { return };
    for content in ["one", "two"] {
        world.artifact("a", "web", world.blob(content).await).await;
    }
    assert!(matches!(
        delete_version(&world, 9).await,
        Err(StoreError::Precondition { reason: "no-such-index", .. })
    ));
    assert_eq!(indexes(&delete_version(&world, 2).await.unwrap()), [1]);
    let gone = delete_version(&world, 1).await.unwrap();
    assert_eq!(gone.state.as_ref().unwrap().state, "deleted");
    assert_eq!(indexes(&gone), [1], "what it had at last stays readable");
    assert!(
        matches!(delete_version(&world, 1).await, Err(StoreError::Missing { .. })),
        "names mean live ones"
    );
    // The same source makes a new artifact with new numbers.
    let again = world.artifact("a", "web", world.blob("three").await).await;
    assert_ne!(again.to_string(), gone.uuid);
    assert_eq!(indexes(&get(&world, "a", again).await.unwrap()), [1]);
}

#[tokio::test]
async fn deleting_by_uuid_twice_answers_the_same() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("one").await;
    let id = world.artifact("a", "web", blob).await;
    for _ in 0..2 {
        let request = DeleteArtifactRequest {
            caller: caller("a"),
            selector: selector(id),
            ..DeleteArtifactRequest::default()
        };
        let reply = world
            .run(move |conn, ctx| {
                let request = request.clone();
                Box::pin(async move { artifacts::delete(conn, ctx, &request).await })
            })
            .await
            .unwrap();
        assert_eq!(reply.artifact.unwrap().state.unwrap().state, "deleted");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_references WHERE kind = 'artifact_index'").await, 0);
}

#[tokio::test]
async fn bulk_delete_takes_the_next_few_until_none_are_left() {
    let Some(world) = World::start().await else { return };
    world.many_artifacts("a", 120).await;
    world.many_artifacts("b", 1).await;
    let mut deleted = std::collections::BTreeSet::new();
    let mut sizes = Vec::new();
    loop {
        let request = DeleteNamespaceArtifactsRequest {
            namespace: "a".to_owned(),
            ..DeleteNamespaceArtifactsRequest::default()
        };
        let work = world.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::delete_all(conn, ctx, &request).await })
        });
        let reply = work.await.unwrap();
        sizes.push(reply.artifact_uuids.len());
        deleted.extend(reply.artifact_uuids);
        if !reply.more {
            break;
        }
    }
    assert_eq!((sizes, deleted.len()), (vec![50, 50, 20], 120));
    assert_eq!(world.number("SELECT COUNT(*) FROM artifacts WHERE state <> 'deleted'").await, 1);
}

#[tokio::test]
async fn only_the_system_namespace_shares() {
    let Some(world) = World::start().await else { return };
    let own = world.artifact("a", "web", world.blob("one").await).await;
    let system = world.artifact("system", "base", world.blob("two").await).await;
    let share = |namespace: &str, id: ArtifactId, shared: bool| {
        let request = SetSharedRequest {
            caller: caller(namespace),
            selector: selector(id),
            shared,
            ..SetSharedRequest::default()
        };
        let world = world.clone();
        async move {
            world
                .run(move |conn, ctx| {
                    let request = request.clone();
                    Box::pin(async move { artifacts::set_shared(conn, ctx, &request).await })
                })
                .await
        }
    };
    assert!(matches!(share("a", own, true).await, Err(StoreError::Refused { .. })));
    assert!(matches!(share("system", system, false).await, Err(StoreError::Refused { .. })));
    assert!(matches!(share("a", system, true).await, Err(StoreError::Missing { .. })));
    assert!(matches!(get(&world, "a", system).await, Err(StoreError::Missing { .. })));
    assert!(share("system", system, true).await.unwrap().artifact.unwrap().shared);
    assert_eq!(get(&world, "a", "base").await.unwrap().uuid, system.to_string());
}

#[tokio::test]
async fn names_mean_the_nearest_artifact() {
    let Some(world) = World::start().await else { return };
    world.trust("b", "a").await;
    let foreign = world.artifact("b", "web", world.blob("one").await).await;
    assert_eq!(get(&world, "a", "web").await.unwrap().uuid, foreign.to_string());
    let own = world.artifact("a", "web", world.blob("two").await).await;
    assert_eq!(get(&world, "a", "web").await.unwrap().uuid, own.to_string());
    let label = world.blob("three").await;
    world.version("a", "label", "sf://label/a/web", "web", label).await.unwrap();
    let refused = get(&world, "a", "web").await.unwrap_err();
    assert!(matches!(refused, StoreError::Precondition { reason: "ambiguous-reference", .. }), "{refused}");
}
