//! Log-in, tokens, keys and what they may.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use sf_daemon_api::auth::Refusal;

use crate::world::World;

#[tokio::test]
async fn every_failed_log_in_is_the_same() {
    let Some(world) = World::start().await else { return };
    let mut bodies = Vec::new();
    for (namespace, key) in
        [("t1", "wrong-secret"), ("nobody", "wrong-secret"), ("t1", "sfk_wrong"), ("a:b", "x")]
    {
        let mut answer = world.log_in(namespace, key).await;
        assert_eq!(answer.refused(namespace, 401), "unauthorized");
        answer.body.as_object_mut().unwrap().remove("request_id");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test]
async fn too_many_failures_are_throttled_for_their_namespace_only() {
    let Some(world) = World::start().await else { return };
    let mut last = 0;
    for _ in 0..40 {
        let answer = world.log_in("t1", "sfk_wrong").await;
        last = answer.status;
        if last == 429 {
            assert!(answer.headers.contains_key("retry-after"));
            break;
        }
    }
    assert_eq!(last, 429);
    world.token("t2").await;
}

#[tokio::test]
async fn rotating_or_deleting_a_key_kills_its_tokens() {
    let Some(world) = World::start().await else { return };
    let system = world.token("system").await;
    let keys = "/auth/namespaces/t1/keys";
    let made = json!({"key_name": "deploy", "key": "first-secret"});
    assert_eq!(world.ask(Method::POST, keys, Some(&system), made).await.ok("create"), json!("deploy"));
    let token =
        world.log_in("t1", "first-secret").await.ok("log-in")["access_token"].as_str().unwrap().to_owned();
    world.ask(Method::GET, "/networks", Some(&token), Value::Null).await.ok("use");
    let rotated = json!({"key_name": "deploy", "key": "second-secret"});
    world.ask(Method::PUT, keys, Some(&token), rotated).await.ok("rotate");
    world.ask(Method::GET, "/networks", Some(&token), Value::Null).await.refused("rotated", 401);
    world.log_in("t1", "first-secret").await.refused("old secret", 401);
    let token =
        world.log_in("t1", "second-secret").await.ok("log-in")["access_token"].as_str().unwrap().to_owned();
    world
        .ask(Method::DELETE, "/auth/namespaces/t1/keys/deploy", Some(&token), Value::Null)
        .await
        .ok("delete");
    world.ask(Method::GET, "/networks", Some(&token), Value::Null).await.refused("deleted", 401);
    let again =
        world.ask(Method::DELETE, "/auth/namespaces/t1/keys/deploy", Some(&system), Value::Null).await;
    assert_eq!(again.refused("again", 404), "key name not found in namespace");
}

#[tokio::test]
async fn a_generated_secret_is_shown_once_and_works() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let made = json!({"key_name": "robot", "scopes": ["network.read"]});
    let made = world.ask(Method::POST, "/auth/namespaces/t1/keys", Some(&token), made).await.ok("create");
    let secret = made["key"].as_str().unwrap();
    assert!(secret.starts_with("sfk_"));
    let narrow = world.log_in("t1", secret).await.ok("log-in")["access_token"].as_str().unwrap().to_owned();
    world.ask(Method::GET, "/networks", Some(&narrow), Value::Null).await.ok("in scope");
    let refused = world.ask(Method::GET, "/instances", Some(&narrow), Value::Null).await;
    assert_eq!(refused.refused("out of scope", 403), "token is not scoped for this operation");
    world.log_in("t2", secret).await.refused("another namespace", 401);
    let list = world.ask(Method::GET, "/auth/namespaces/t1/keys", Some(&token), Value::Null).await.ok("list");
    assert!(list.as_array().unwrap().contains(&json!("robot")) && !list.to_string().contains(secret));
}

#[tokio::test]
async fn rules_of_keys_and_namespaces() {
    let Some(world) = World::start().await else { return };
    let (system, token) = (world.token("system").await, world.token("t1").await);
    let keys = "/auth/namespaces/t1/keys";
    for (body, status) in [
        (json!({"key_name": "k", "key": "1234567"}), 400),
        (json!({"key_name": "k", "key": "x".repeat(73)}), 400),
        (json!({"key_name": "k", "key": "sfk_12345678"}), 400),
        (json!({"key_name": "k", "key": "long enough", "expiry": 1}), 400),
        (json!({"key_name": "k", "scopes": ["nonsense.read"]}), 400),
        (json!({"key_name": "k", "scopes": ["admin"]}), 403),
        (json!({"key_name": "service_key", "key": "long enough"}), 403),
        (json!({"key_name": "_service_key_x", "key": "long enough"}), 403),
    ] {
        world.ask(Method::POST, keys, Some(&token), body.clone()).await.refused(&body.to_string(), status);
    }
    let namespaces = "/auth/namespaces";
    let create = |name: &str| json!({"namespace": name});
    world.ask(Method::POST, namespaces, Some(&system), create("new")).await.ok("create");
    let again = world.ask(Method::POST, namespaces, Some(&system), create("new")).await;
    assert_eq!(again.refused("again", 403), "namespace exists");
    world.ask(Method::POST, namespaces, Some(&system), create("a/b")).await.refused("bad name", 400);
    world
        .ask(Method::DELETE, "/auth/namespaces/system", Some(&system), Value::Null)
        .await
        .refused("system", 403);
    world.ask(Method::DELETE, "/auth/namespaces/new", Some(&system), Value::Null).await.ok("delete");
    let gone = world.ask(Method::GET, "/auth/namespaces/new", Some(&system), Value::Null).await;
    assert_eq!(gone.refused("gone", 404), "namespace not found");
}

#[tokio::test]
async fn trust_gives_sight_and_nothing_more() {
    let Some(world) = World::start().await else { return };
    let (one, two) = (world.token("t1").await, world.token("t2").await);
    world.ask(Method::GET, "/auth/namespaces/t1", Some(&two), Value::Null).await.refused("before", 404);
    let trust = json!({"external_namespace": "t2"});
    let view = world.ask(Method::POST, "/auth/namespaces/t1/trust", Some(&one), trust).await.ok("trust");
    assert!(view["trust"]["full"].as_array().unwrap().contains(&json!("t2")), "{view}");
    world.ask(Method::GET, "/auth/namespaces/t1", Some(&two), Value::Null).await.ok("sight");
    world.ask(Method::GET, "/auth/namespaces/t1/keys", Some(&two), Value::Null).await.refused("keys", 404);
    let note = json!({"value": 1});
    world.ask(Method::PUT, "/auth/namespaces/t1/metadata/x", Some(&two), note).await.refused("metadata", 404);
    world
        .ask(Method::DELETE, "/auth/namespaces/t1/trust/system", Some(&one), Value::Null)
        .await
        .refused("system", 403);
    world.ask(Method::DELETE, "/auth/namespaces/t1/trust/t2", Some(&one), Value::Null).await.ok("remove");
    world.ask(Method::GET, "/auth/namespaces/t1", Some(&two), Value::Null).await.refused("after", 404);
}

#[tokio::test]
async fn refusals_are_told_once_for_each_namespace() {
    let Some(world) = World::start().await else { return };
    for (namespace, key) in
        [("t1", "wrong-secret"), ("t1", "sfk_wrong"), ("nobody", "wrong-secret"), ("a:b", "x")]
    {
        world.log_in(namespace, key).await.refused(namespace, 401);
    }
    let told = || {
        let told = world.api.refusals.take().into_iter();
        told.map(|((refusal, namespace), tally)| (namespace, refusal, tally.count)).collect::<BTreeSet<_>>()
    };
    let failures = |namespace: &str, count| (namespace.to_owned(), Refusal::Authentication, count);
    assert_eq!(told(), BTreeSet::from([failures("system", 3), failures("t1", 1)]));
    let token = world.token("t1").await;
    world.ask(Method::GET, "/admin/locks", Some(&token), Value::Null).await.refused("not an operator", 403);
    world.ask(Method::GET, "/networks", Some("nonsense"), Value::Null).await.refused("no token", 401);
    assert_eq!(told(), BTreeSet::from([failures("system", 1), ("t1".to_owned(), Refusal::Authorisation, 1)]));
}
