//! Metadata: one row per key, limits, rules of instances.

use sf_protos::metadata::{DeleteMetadataKeyRequest, GetMetadataRequest, SetMetadataKeyRequest};
use sf_store::{StoreError, StoreResult, metadata};

use super::world::{World, caller, selector};

async fn set(
    world: &World,
    namespace: &str,
    object: (&str, String),
    key: &str,
    value: &str,
) -> StoreResult<String> {
    let request = SetMetadataKeyRequest {
        caller: caller(namespace),
        object_type: object.0.to_owned(),
        selector: selector(object.1),
        key: key.to_owned(),
        value_json: value.to_owned(),
        ..SetMetadataKeyRequest::default()
    };
    let reply = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { metadata::set_key(conn, ctx, &request).await })
        })
        .await?;
    Ok(reply.object_id)
}

async fn get(world: &World, namespace: &str, object: (&str, String)) -> StoreResult<Vec<(String, String)>> {
    let request = GetMetadataRequest {
        caller: caller(namespace),
        object_type: object.0.to_owned(),
        selector: selector(object.1),
    };
    let mut conn = world.db.conn().await;
    let reply = metadata::get(&mut conn, &request).await?;
    Ok(reply.entries.into_iter().map(|e| (e.key, e.value_json)).collect())
}

#[tokio::test]
async fn keys_are_set_replaced_and_removed() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let object = || ("network", "web".to_owned());
    assert_eq!(set(&world, "a", object(), "one", "1").await.unwrap(), network.uuid);
    set(&world, "a", object(), "two", r#"{"x": [1, 2]}"#).await.unwrap();
    set(&world, "a", object(), "one", r#""again""#).await.unwrap();
    let entries = get(&world, "a", ("network", network.uuid.clone())).await.unwrap();
    assert_eq!(entries, [("one".into(), r#""again""#.into()), ("two".into(), r#"{"x": [1, 2]}"#.into())]);
    for existed in [true, false] {
        let request = DeleteMetadataKeyRequest {
            caller: caller("a"),
            object_type: "network".to_owned(),
            selector: selector("web"),
            key: "one".to_owned(),
            ..DeleteMetadataKeyRequest::default()
        };
        let reply = world
            .run(move |conn, ctx| {
                let request = request.clone();
                Box::pin(async move { metadata::delete_key(conn, ctx, &request).await })
            })
            .await
            .unwrap();
        assert_eq!(reply.existed, existed);
    }
}

#[tokio::test]
async fn all_values_of_an_object_are_bounded() {
    let Some(world) = World::start().await else { return };
    world.network("a", "web", "10.0.0.0/24").await.unwrap();
    let object = || ("network", "web".to_owned());
    let big = format!("\"{}\"", "x".repeat(60_000));
    for key in ["a", "b", "c", "d"] {
        set(&world, "a", object(), key, &big).await.unwrap();
    }
    let refused = set(&world, "a", object(), "e", &big).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "bad-metadata", .. })));
    set(&world, "a", object(), "d", &big).await.unwrap();
    let refused = set(&world, "a", object(), "big", &format!("\"{}\"", "x".repeat(70_000))).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "bad-metadata", .. })));
}

#[tokio::test]
async fn every_kind_of_object_follows_its_own_rule() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    let interface = world.attach(instance, "a", vec![super::world::spec("web")]).await.unwrap().remove(0);
    let blob = world.blob("x").await;
    let artifact = world.artifact("a", "disk", blob).await;
    world.trust("a", "b").await;
    // (object, who may write, who may read)
    let table = [
        (("network", network.uuid.clone()), vec!["a", "system"], vec!["a", "system"]),
        (("instance", instance.to_string()), vec!["a", "system"], vec!["a", "system"]),
        (("networkinterface", interface.uuid.clone()), vec!["a", "system"], vec!["a", "system"]),
        (("artifact", artifact.to_string()), vec!["a", "system"], vec!["a", "b", "system"]),
        (("blob", blob.to_string()), vec!["a", "system"], vec!["a", "b", "system"]),
        (("node", "one".to_owned()), vec!["system"], vec!["system"]),
        (("namespace", "a".to_owned()), vec!["a", "system"], vec!["a", "b", "system"]),
    ];
    for (object, writers, readers) in table {
        for namespace in ["a", "b", "system"] {
            let (kind, id) = (object.0, object.1.clone());
            let written = set(&world, namespace, (kind, id.clone()), "k", "1").await;
            assert_eq!(
                written.is_ok(),
                writers.contains(&namespace),
                "{kind} written by {namespace}: {written:?}"
            );
            let read = get(&world, namespace, (kind, id)).await;
            assert_eq!(read.is_ok(), readers.contains(&namespace), "{kind} read by {namespace}: {read:?}");
        }
    }
    let refused = set(&world, "a", ("instance", instance.to_string()), "tags", "1").await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "bad-metadata", .. })));
}
