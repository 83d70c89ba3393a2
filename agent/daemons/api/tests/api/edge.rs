//! What holds for every request whatever its route.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn unknown_paths_and_verbs_have_bodies() {
    let Some(world) = World::start().await else { return };
    let unknown = world.ask(Method::GET, "/nothing/here", None, Value::Null).await;
    assert!(unknown.refused("unknown path", 404).contains("not found"));
    for method in [Method::PATCH, Method::PUT, Method::TRACE, Method::OPTIONS] {
        let answer = world.ask(method.clone(), "/instances", None, Value::Null).await;
        answer.refused(method.as_str(), 405);
        let allow = answer.headers["allow"].to_str().unwrap();
        assert!(["GET", "POST", "DELETE"].iter().all(|verb| allow.contains(verb)), "{allow}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_path_is_the_same_route() {
    let Some(world) = World::start().await else { return };
    for path in ["/", "//"] {
        let page = world.ask(Method::GET, path, None, Value::Null).await;
        assert_eq!(
            (page.status, page.headers["content-type"].to_str().unwrap()),
            (200, "text/html; charset=utf-8")
        );
        assert!(page.text.contains("network-delete-async"));
    }
    let token = world.token("t1").await;
    for path in ["/networks", "//networks", "/networks/", "///networks//?all=false"] {
        assert_eq!(world.ask(Method::GET, path, Some(&token), Value::Null).await.ok(path), json!([]));
    }
    let long = format!("/{}", "x".repeat(9000));
    world.ask(Method::GET, &long, None, Value::Null).await.refused("long", 414);
}

#[tokio::test]
async fn request_ids_are_echoed_when_well_formed() {
    let Some(world) = World::start().await else { return };
    let ask = async |id: &str| {
        let request =
            Request::builder().uri("/livez").header("x-request-id", id).body(Body::empty()).unwrap();
        world.raw(request).await.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("my-id.1").await, "my-id.1");
    assert_ne!(ask("not plain!").await, "not plain!");
}

#[tokio::test]
async fn probes_tell_liveness_from_readiness() {
    let Some(world) = World::start().await else { return };
    let ask = async |path: &str| {
        let answer = world.ask(Method::GET, path, None, Value::Null).await;
        (answer.status, answer.text)
    };
    assert_eq!(ask("/livez").await, (200, "ok".to_owned()));
    assert_eq!(ask("/readyz").await, (503, "not ready".to_owned()));
    world.api.readiness.saw(true, std::time::Instant::now());
    assert_eq!(ask("/readyz").await, (200, "ready".to_owned()));
    assert_eq!(ask("/healthz").await, (200, "ready".to_owned()));
    world.api.readiness.drain();
    assert_eq!(ask("/readyz").await.0, 503);
    assert_eq!(ask("/livez").await.0, 200);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let Some(world) = World::start().await else { return };
    let answer = world.ask(Method::HEAD, "/", None, Value::Null).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
}

#[tokio::test]
async fn old_clients_get_what_they_understand() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let ask = async |agent: &str| {
        let request = Request::builder()
            .uri("/auth/namespaces")
            .header("authorization", format!("Bearer {token}"))
            .header("user-agent", agent);
        world.raw(request.body(Body::empty()).unwrap()).await.ok(agent)
    };
    assert_eq!(ask("Go-http-client/1.1").await, json!(["t1"]));
    assert_eq!(ask("Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/0.8.3").await[0]["name"], "t1");
}

#[tokio::test]
async fn without_the_tier_everything_is_503_and_nothing_is_401() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    world.stop_tier().await;
    for (method, path) in
        [(Method::GET, "/networks"), (Method::GET, "/instances"), (Method::DELETE, "/instances/x")]
    {
        let answer = world.ask(method, path, Some(&token), Value::Null).await;
        answer.refused(path, 503);
        assert_eq!(answer.headers["retry-after"], "1");
    }
    world.log_in("t1", "tenant-one-secret").await.refused("log-in", 503);
    assert_eq!(world.ask(Method::GET, "/livez", None, Value::Null).await.status, 200);
}
