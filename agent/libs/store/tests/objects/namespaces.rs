//! Namespaces, keys, login candidates, principals, attempts.

use sf_model::KeyId;
use sf_protos::namespaces::{
    AddTrustRequest, CountAttemptRequest, CreateNamespaceRequest, DeleteKeyRequest, DeleteNamespaceRequest,
    GetLoginCandidatesRequest, GetNamespaceRequest, GetPrincipalRequest, NewKey, PutKeyReply, PutKeyRequest,
    RemoveTrustRequest,
};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, namespaces};

use super::world::{World, caller};

fn key(name: &str, kind: &str, verifier: &str) -> NewKey {
    NewKey {
        key_uuid: KeyId::random().to_string(),
        key_name: name.to_owned(),
        kind: kind.to_owned(),
        verifier: verifier.to_owned(),
        nonce: "0".repeat(32),
        scopes: vec!["*".to_owned(), "instance.read".to_owned()],
        expires_at: None,
    }
}

async fn put(world: &World, namespace: &str, key: NewKey, must_exist: bool) -> StoreResult<PutKeyReply> {
    let request = PutKeyRequest {
        namespace: namespace.to_owned(),
        key: Some(key),
        must_exist,
        ..PutKeyRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { namespaces::put_key(conn, ctx, &request).await })
        })
        .await
}

async fn candidates(world: &World, namespace: &str, digest: Option<&str>) -> Vec<String> {
    let request =
        GetLoginCandidatesRequest { namespace: namespace.to_owned(), digest: digest.map(str::to_owned) };
    let mut conn = world.db.conn().await;
    let found = namespaces::login_candidates(&mut conn, &request).await.unwrap().candidates;
    found.into_iter().map(|c| c.key_name).collect()
}

/// Whether it must be asked for again.
async fn delete(world: &World, name: &str) -> StoreResult<bool> {
    let request = DeleteNamespaceRequest { name: name.to_owned(), ..DeleteNamespaceRequest::default() };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { namespaces::delete(conn, ctx, &request).await })
        })
        .await
        .map(|reply| reply.more)
}

async fn seen(world: &World, viewer: &str, name: &str) -> StoreResult<sf_protos::namespaces::Namespace> {
    let request = GetNamespaceRequest { caller: caller(viewer), name: name.to_owned() };
    let mut conn = world.db.conn().await;
    Ok(namespaces::get(&mut conn, &request).await?.namespace.unwrap())
}

#[tokio::test]
async fn a_login_finds_live_keys_of_its_namespace_only() {
    let Some(world) = World::start().await else { return };
    put(&world, "a", key("generated", "generated", "digest-a"), false).await.unwrap();
    put(&world, "a", key("supplied", "supplied", "$argon2id$1"), false).await.unwrap();
    put(&world, "b", key("other", "supplied", "$argon2id$2"), false).await.unwrap();
    assert_eq!(candidates(&world, "a", Some("digest-a")).await, ["generated"]);
    assert!(
        candidates(&world, "b", Some("digest-a")).await.is_empty(),
        "the digest of another namespace's key"
    );
    assert_eq!(candidates(&world, "a", None).await, ["supplied"]);
    assert!(candidates(&world, "unknown", None).await.is_empty());
    world
        .execute(sql("UPDATE namespace_keys SET expires_at = TIMESTAMPADD(SECOND, -1, UTC_TIMESTAMP(6)) WHERE name = 'supplied'"))
        .await;
    assert!(candidates(&world, "a", None).await.is_empty(), "expiry is the database's clock");
    delete(&world, "b").await.unwrap();
    assert!(candidates(&world, "b", None).await.is_empty());
}

#[tokio::test]
async fn a_principal_is_nonce_scopes_and_trust() {
    let Some(world) = World::start().await else { return };
    put(&world, "a", key("k", "supplied", "v1"), false).await.unwrap();
    world.trust("b", "a").await;
    let principal = || async {
        let request = GetPrincipalRequest { namespace: "a".to_owned(), key_name: "k".to_owned() };
        let mut conn = world.db.conn().await;
        namespaces::principal(&mut conn, &request).await
    };
    let found = principal().await.unwrap();
    assert_eq!(
        (found.scopes, found.trusted_by),
        (vec!["*".to_owned(), "instance.read".to_owned()], vec!["b".to_owned()])
    );
    let mut rotated = key("k", "supplied", "v2");
    rotated.nonce = "1".repeat(32);
    rotated.scopes = vec!["admin".to_owned()];
    assert!(put(&world, "a", rotated, true).await.unwrap().replaced);
    let found = principal().await.unwrap();
    assert_eq!((found.nonce, found.scopes), ("1".repeat(32), vec!["admin".to_owned()]));
    let request = DeleteKeyRequest {
        namespace: "a".to_owned(),
        key_name: "k".to_owned(),
        ..DeleteKeyRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { namespaces::delete_key(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert!(matches!(principal().await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn keys_are_limited_and_named() {
    let Some(world) = World::start().await else { return };
    assert!(matches!(
        put(&world, "a", key("k", "supplied", "v"), true).await,
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        put(&world, "x", key("k", "supplied", "v"), false).await,
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        put(&world, "a", key("_oidc_k", "supplied", "v"), false).await,
        Err(StoreError::Refused { .. })
    ));
    for index in 0..16 {
        put(&world, "a", key(&format!("k{index}"), "supplied", &format!("v{index}")), false).await.unwrap();
    }
    let refused = put(&world, "a", key("k16", "supplied", "v16"), false).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "too-many-keys", .. })));
    put(&world, "a", key("generated", "generated", "digest"), false).await.unwrap();
    let refused = put(&world, "a", key("generated", "supplied", "v16"), true).await;
    assert!(
        matches!(refused, Err(StoreError::Precondition { reason: "too-many-keys", .. })),
        "a login tries 16"
    );
    put(&world, "a", key("k0", "supplied", "v16"), true).await.unwrap();
    let twice = put(&world, "b", key("stolen", "generated", "digest"), false).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })));
    let mut names = seen(&world, "a", "a").await.unwrap().keys;
    names.sort();
    assert_eq!((names.len(), names[0].as_str()), (17, "generated"));
    put(&world, "a", key("k0", "generated", "another"), true).await.unwrap();
    put(&world, "a", key("generated", "supplied", "v17"), true).await.unwrap();
    assert_eq!(candidates(&world, "a", None).await.len(), 16);
}

#[tokio::test]
async fn a_namespace_with_objects_stays() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    let artifact = world.artifact("a", "disk", world.blob("x").await).await;
    put(&world, "a", key("k", "supplied", "v"), false).await.unwrap();
    let refused = delete(&world, "a").await.unwrap_err();
    let StoreError::Precondition { reason, detail, .. } = refused else { panic!() };
    assert_eq!(
        (reason, detail["instances"].as_str(), detail["networks"].as_str()),
        ("namespace-in-use", "1", "1")
    );
    assert_eq!(
        seen(&world, "a", "a").await.unwrap().state.unwrap().state,
        "created",
        "a refusal changes nothing"
    );
    assert!(matches!(delete(&world, "system").await, Err(StoreError::Refused { .. })));
    world.set_state("instances", instance.as_uuid(), "deleted").await;
    world.set_state("networks", network.uuid.parse().unwrap(), "deleted").await;
    delete(&world, "a").await.unwrap();
    assert!(matches!(delete(&world, "a").await, Err(StoreError::Missing { .. })));
    assert!(matches!(seen(&world, "system", "a").await, Err(StoreError::Missing { .. })));
    assert_eq!(
        world.text(&format!("SELECT state FROM artifacts WHERE uuid = '{artifact}'")).await,
        "deleted"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM namespace_keys WHERE live_name IS NOT NULL").await, 0);
    assert!(matches!(world.network("a", "n", "10.0.0.0/24").await, Err(StoreError::Missing { .. })));
    let request = CreateNamespaceRequest { name: "a".to_owned(), ..CreateNamespaceRequest::default() };
    let again = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { namespaces::create(conn, ctx, &request).await })
        })
        .await;
    assert!(
        matches!(again, Err(StoreError::Refused { reason: "namespace-exists", .. })),
        "not while its rows exist"
    );
}

#[tokio::test]
async fn trust_gives_sight_and_can_be_taken_back() {
    let Some(world) = World::start().await else { return };
    assert!(matches!(seen(&world, "b", "a").await, Err(StoreError::Missing { .. })));
    let add = AddTrustRequest {
        namespace: "a".to_owned(),
        external_namespace: "b".to_owned(),
        ..AddTrustRequest::default()
    };
    let view = world
        .run(move |conn, ctx| {
            let add = add.clone();
            Box::pin(async move { namespaces::add_trust(conn, ctx, &add).await })
        })
        .await
        .unwrap();
    assert_eq!(view.namespace.unwrap().trusted, ["system", "b"]);
    assert_eq!(seen(&world, "b", "a").await.unwrap().name, "a");
    let remove = |external: &str| {
        let request = RemoveTrustRequest {
            namespace: "a".to_owned(),
            external_namespace: external.to_owned(),
            ..RemoveTrustRequest::default()
        };
        let world = world.clone();
        async move {
            world
                .run(move |conn, ctx| {
                    let request = request.clone();
                    Box::pin(async move { namespaces::remove_trust(conn, ctx, &request).await })
                })
                .await
        }
    };
    assert!(matches!(remove("system").await, Err(StoreError::Refused { .. })));
    assert_eq!(remove("b").await.unwrap().namespace.unwrap().trusted, ["system"]);
    remove("b").await.unwrap();
}

#[tokio::test]
async fn attempts_are_counted_per_source_and_namespace() {
    let Some(world) = World::start().await else { return };
    let count = |source: &str, namespace: &str| {
        let request = CountAttemptRequest {
            kind: "login".to_owned(),
            source: source.to_owned(),
            namespace: namespace.to_owned(),
        };
        let world = world.clone();
        async move {
            world
                .run(move |conn, _| {
                    let request = request.clone();
                    Box::pin(async move { namespaces::count_attempt(conn, &request).await })
                })
                .await
                .unwrap()
                .attempts
        }
    };
    for expected in 1..=3 {
        assert_eq!(count("10.0.0.1", "a").await, expected);
    }
    assert_eq!((count("10.0.0.2", "a").await, count("10.0.0.1", "b").await), (1, 1));
    world
        .execute(sql("UPDATE auth_attempts SET window_start = TIMESTAMPADD(MINUTE, -5, window_start)"))
        .await;
    assert_eq!(count("10.0.0.1", "a").await, 1);
}

#[tokio::test]
async fn expired_keys_are_reaped_after_their_grace() {
    let Some(world) = World::start().await else { return };
    put(&world, "a", key("k", "supplied", "v"), false).await.unwrap();
    let reap = || world.run(|conn, ctx| Box::pin(async move { namespaces::reap_keys(conn, ctx).await }));
    world
        .execute(sql("UPDATE namespace_keys SET expires_at = TIMESTAMPADD(MINUTE, -30, UTC_TIMESTAMP(6))"))
        .await;
    assert_eq!(reap().await.unwrap().deleted, 0);
    world
        .execute(sql("UPDATE namespace_keys SET expires_at = TIMESTAMPADD(MINUTE, -90, UTC_TIMESTAMP(6))"))
        .await;
    assert_eq!(reap().await.unwrap().deleted, 1);
    put(&world, "a", key("k", "supplied", "v"), false).await.unwrap();
}

#[tokio::test]
async fn a_namespace_stays_until_the_last_of_its_artifacts_is_gone() {
    let Some(world) = World::start().await else { return };
    world.many_artifacts("a", 120).await;
    let live = "SELECT COUNT(*) FROM artifacts WHERE state <> 'deleted'";
    for left in [70, 20] {
        assert!(delete(&world, "a").await.unwrap());
        assert_eq!(world.number(live).await, left);
        assert_eq!(seen(&world, "a", "a").await.unwrap().state.unwrap().state, "created");
    }
    world.network("a", "late", "10.0.0.0/24").await.unwrap();
    let refused = delete(&world, "a").await.unwrap_err();
    assert!(matches!(refused, StoreError::Precondition { reason: "namespace-in-use", .. }), "{refused}");
    assert_eq!(world.number(live).await, 20, "a refusal changes nothing");
    world.execute(sql("UPDATE networks SET state = 'deleted' WHERE name = 'late'")).await;
    assert!(!delete(&world, "a").await.unwrap());
    assert_eq!(world.number(live).await, 0);
    assert!(matches!(delete(&world, "a").await, Err(StoreError::Missing { .. })));
}
