//! What disk bases mean.

use sf_model::BlobId;
use sf_protos::artifacts::{DiskBase, ResolveDiskBasesRequest, ResolvedBase};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, artifacts};

use super::world::{World, caller};

const TABLE: &str = "https://images.example/debian";

async fn resolve(world: &World, base: &str, table: &str) -> StoreResult<ResolvedBase> {
    let request = ResolveDiskBasesRequest {
        caller: caller("a"),
        namespace: "a".to_owned(),
        bases: vec![DiskBase { base: base.to_owned() }],
        table_urls: vec![table.to_owned()],
        ..ResolveDiskBasesRequest::default()
    };
    let mut conn = world.db.conn().await;
    Ok(artifacts::resolve_bases(&mut conn, &request).await?.bases.remove(0))
}

async fn refusal(world: &World, base: &str, table: &str) -> String {
    match resolve(world, base, table).await.unwrap_err() {
        StoreError::Precondition { reason, .. } => reason.to_owned(),
        StoreError::Missing { .. } => "missing".to_owned(),
        other => panic!("{base}: {other}"),
    }
}

#[tokio::test]
async fn references_mean_what_they_name() {
    let Some(world) = World::start().await else { return };
    let (old, new) = (world.blob("old").await, world.blob("new").await);
    world.artifact("a", "disk", old).await;
    let uploaded = world.artifact("a", "disk", new).await;
    world.version("a", "label", "sf://label/a/stable", "stable", old).await.unwrap();
    for (base, blob) in [
        (format!("sf://blob/{old}"), old),
        (format!("sf://artifact/{uploaded}"), new),
        (format!("sf://artifact/{uploaded}@1"), old),
        (format!("sf://snapshot/{uploaded}"), new),
        ("sf://upload/a/disk".to_owned(), new),
        ("sf://label/a/stable".to_owned(), old),
        ("label:stable".to_owned(), old),
        ("disk".to_owned(), new),
        ("stable".to_owned(), old),
    ] {
        let resolved = resolve(&world, &base, "").await.unwrap();
        assert_eq!(resolved.blob_uuid, Some(blob.to_string()), "{base}");
        assert!(resolved.artifact_uuid.is_none() && !resolved.resolved.is_empty());
        assert_eq!(resolved.format.as_deref(), Some("raw"));
    }
    assert_eq!(resolve(&world, "", "").await.unwrap(), ResolvedBase::default());
    for (base, reason) in [
        (format!("sf://blob/{}", BlobId::random()), "missing"),
        (format!("sf://artifact/{uploaded}@9"), "missing"),
        ("label:nothing".to_owned(), "missing"),
        ("ftp://x/y".to_owned(), "bad-reference"),
        ("nothing".to_owned(), "unknown-image"),
        ("image:nothing".to_owned(), "unknown-image"),
    ] {
        assert_eq!(refusal(&world, &base, "").await, reason, "{base}");
    }
}

#[tokio::test]
async fn addresses_are_fetched_into_the_own_namespace_and_read_from_others() {
    let Some(world) = World::start().await else { return };
    let url = "https://images.example/a.qcow2";
    let fetch = resolve(&world, url, "").await.unwrap();
    assert!(fetch.blob_uuid.is_none() && fetch.artifact_uuid.is_some());
    assert_eq!(fetch.fetch_url.as_deref(), Some(url));
    assert_eq!(world.number("SELECT COUNT(*) FROM artifacts").await, 0, "nothing is created by a reference");
    let blob = world.blob("image").await;
    let foreign = world.version("system", "image", url, "a.qcow2", blob).await.unwrap();
    world.execute(sql("UPDATE artifacts SET shared = TRUE WHERE uuid = ?").bind(foreign)).await;
    assert_eq!(resolve(&world, url, "").await.unwrap().blob_uuid, Some(blob.to_string()));
    let own = world.version("a", "image", url, "a.qcow2", blob).await.unwrap();
    let again = resolve(&world, url, "").await.unwrap();
    assert_eq!((again.artifact_uuid, again.blob_uuid), (Some(own.to_string()), None), "refreshed before use");
}

#[tokio::test]
async fn a_bare_name_is_never_a_guess() {
    let Some(world) = World::start().await else { return };
    let from_table = resolve(&world, "debian:12", TABLE).await.unwrap();
    assert_eq!(from_table.fetch_url.as_deref(), Some("debian:12"), "the node that fetches applies the table");
    let spelled = resolve(&world, "image:debian:12", TABLE).await.unwrap();
    assert_eq!(spelled.fetch_url.as_deref(), Some("debian:12"));
    let blob = world.blob("image").await;
    // A foreign artifact that is not the table's image competes with it.
    world.version("system", "label", "sf://label/system/debian:12", "debian:12", blob).await.unwrap();
    world.execute(sql("UPDATE artifacts SET shared = TRUE")).await;
    assert_eq!(refusal(&world, "debian:12", TABLE).await, "ambiguous-reference");
    assert_eq!(resolve(&world, "debian:12", "").await.unwrap().blob_uuid, Some(blob.to_string()));
    // A shared copy of the table's image is the same meaning as the table.
    world.execute(sql("UPDATE artifacts SET artifact_type = 'image', source_url = ?").bind(TABLE)).await;
    assert_eq!(resolve(&world, "debian:12", TABLE).await.unwrap().blob_uuid, Some(blob.to_string()));
    // The own namespace decides before both, and two own meanings are an error.
    let own = world.blob("own").await;
    world.version("a", "label", "sf://label/a/debian:12", "debian:12", own).await.unwrap();
    assert_eq!(resolve(&world, "debian:12", TABLE).await.unwrap().blob_uuid, Some(own.to_string()));
    world.artifact("a", "debian:12", own).await;
    assert_eq!(refusal(&world, "debian:12", TABLE).await, "ambiguous-reference");
    let refused = resolve(&world, "debain", "").await.unwrap_err();
    let StoreError::Precondition { detail, .. } = refused else { panic!() };
    assert!(detail["nearest"].starts_with("debian:12"), "{detail:?}");
}

#[tokio::test]
async fn what_is_not_ready_is_told_apart_from_what_never_will_be() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("x").await;
    let id = world.artifact("a", "disk", blob).await;
    let base = format!("sf://artifact/{id}");
    world.execute(sql("UPDATE artifact_versions SET deleted_at = UTC_TIMESTAMP(6)")).await;
    for (state, reason) in
        [("initial", "not-ready"), ("error", "bad-state"), ("created", "missing"), ("deleted", "missing")]
    {
        world.set_state("artifacts", id.as_uuid(), state).await;
        assert_eq!(refusal(&world, &base, "").await, reason, "{state}");
    }
    world.execute(sql("UPDATE artifact_versions SET deleted_at = NULL")).await;
    world.set_state("artifacts", id.as_uuid(), "created").await;
    world.execute(sql("UPDATE blobs SET size = 0")).await;
    assert_eq!(refusal(&world, &base, "").await, "bad-state", "an empty blob is no disk");
}
