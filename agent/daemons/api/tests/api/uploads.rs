//! Bad input at the one route whose body is not JSON, and other tenants' uploads.

use axum::body::Body;
use axum::extract::Request;
use http::Method;
use serde_json::{Value, json};
use sf_store::sql::sql;

use crate::requests::NOBODY;
use crate::world::World;

/// An upload of `t1`, as its creation leaves it.
const UPLOAD: &str = "5a1e0b52-6f0d-4f0e-9d8a-0a4f2c1b7e11";

async fn world_with_upload() -> Option<World> {
    let world = World::start().await?;
    let node = world.api.daemon.node.uuid;
    let insert = "INSERT INTO uploads (uuid, namespace, node_uuid, last_active, state, state_changed_at, created_at, version) \
         VALUES (?, 't1', ?, UTC_TIMESTAMP(6), 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)";
    let upload: uuid::Uuid = UPLOAD.parse().unwrap();
    sql(insert).bind(upload).bind(node).run(&mut world.database.conn().await).await.unwrap();
    Some(world)
}

#[tokio::test]
async fn foreign_uploads_look_like_missing_ones() {
    let Some(world) = world_with_upload().await else { return };
    let token = world.token("t2").await;
    let before = world.fingerprint().await;
    let asked = |upload: &'static str| {
        [
            (format!("/upload/{upload}"), Value::Null),
            (format!("/upload/{upload}/truncate/0"), Value::Null),
            ("/artifacts/upload/mine".to_owned(), json!({"upload_uuid": upload})),
        ]
    };
    for ((path, body), (nowhere, of_nobody)) in asked(UPLOAD).into_iter().zip(asked(NOBODY)) {
        let foreign = world.ask(Method::POST, &path, Some(&token), body).await;
        let missing = world.ask(Method::POST, &nowhere, Some(&token), of_nobody).await;
        assert_eq!(foreign.refused(&path, 404), missing.refused(&path, 404), "{path}");
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn bytes_are_refused_before_they_are_read() {
    let Some(world) = world_with_upload().await else { return };
    let token = world.token("t1").await;
    let path = format!("/upload/{UPLOAD}");
    let unknown = world.send(Method::POST, &format!("{path}?made_up=1"), Some(&token), "bytes").await;
    assert_eq!(unknown.refused("unknown", 400), "made_up: not declared by this endpoint");
    world.send(Method::POST, "/upload/%01", Some(&token), "bytes").await.refused("reference", 400);
    world.send(Method::POST, &path, None, "bytes").await.refused("token", 401);
    let limit = world.api.daemon.cluster.current().api_max_upload_chunk_bytes;
    let announced = Request::post(&path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-length", limit + 1)
        .body(Body::empty())
        .unwrap();
    world.raw(announced).await.refused("too large", 413);
}
