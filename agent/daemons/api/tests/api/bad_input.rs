//! Bad input at every route: the status and body of the contract, and nothing changed.

use serde_json::{Value, json};
use sf_daemon_api::routes::{BodyRule, Entry, ROUTES, Route};

use crate::requests::Targets;
use crate::world::World;

/// Routes whose parameters can be sent in a body.
fn with_parameters() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| !matches!(route.entry, Entry::Probe(_)) && route.body != BodyRule::Raw)
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn with(body: &Value, key: &str, value: Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().insert(key.to_owned(), value);
    body
}

/// A world, a token of `system` and what the database shows before the test.
async fn prepared() -> Option<(World, String, Vec<(String, u64)>)> {
    let world = World::start().await?;
    let token = world.token("system").await;
    let before = world.fingerprint().await;
    Some((world, token, before))
}

#[tokio::test]
async fn every_route_refuses_what_it_does_not_declare() {
    let Some((world, token, before)) = prepared().await else { return };
    let targets = Targets::nobody();
    for route in with_parameters() {
        let (path, body) = (targets.path(route), targets.body(route));
        let ask = |path: String, body: Value| {
            world.ask(route.method.clone(), Box::leak(path.into_boxed_str()), Some(&token), body)
        };
        let unknown = ask(path.clone(), with(&body, "made_up", json!(1))).await;
        assert_eq!(
            unknown.refused(&name(route), 400),
            "made_up: not declared by this endpoint",
            "{}",
            name(route)
        );
        let query = ask(format!("{path}?made_up=1"), body.clone()).await;
        assert_eq!(
            query.refused(&name(route), 400),
            "made_up: not declared by this endpoint",
            "{}",
            name(route)
        );
        for parameter in parameters(route) {
            let twice = ask(path.clone(), with(&body, &parameter, json!("x"))).await;
            let expected = format!("{parameter}: is part of the path");
            assert_eq!(twice.refused(&name(route), 400), expected, "{}", name(route));
        }
    }
    assert_eq!(world.fingerprint().await, before);
}

fn parameters(route: &Route) -> Vec<String> {
    let segments = route.path.split('/');
    segments.filter_map(|s| Some(s.strip_prefix('{')?.strip_suffix('}')?.to_owned())).collect()
}

#[tokio::test]
async fn every_declared_field_refuses_the_wrong_type() {
    let Some((world, token, before)) = prepared().await else { return };
    let targets = Targets::nobody();
    for route in with_parameters() {
        let (path, body) = (targets.path(route), targets.body(route));
        for (field, _) in body.as_object().unwrap().iter().filter(|(field, _)| *field != "value") {
            for wrong in [json!({"nested": [1]}), json!(null)] {
                let optional =
                    field == "namespace" && route.path != "/auth" && route.path != "/auth/namespaces";
                if wrong.is_null() && (optional || field.ends_with("_uuid") && field != "target_uuid") {
                    continue;
                }
                let changed = with(&body, field, wrong.clone());
                let answer = world.ask(route.method.clone(), &path, Some(&token), changed).await;
                if wrong.is_null()
                    && field == "key"
                    && route.path.ends_with("/keys")
                    && route.method == http::Method::POST
                {
                    continue;
                }
                let text = answer.refused(&format!("{} {field}={wrong}", name(route)), 400);
                assert!(text.starts_with(&format!("{field}: ")), "{} {field}={wrong}: {text}", name(route));
            }
        }
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn every_route_refuses_bodies_that_are_not_objects() {
    let Some((world, token, before)) = prepared().await else { return };
    let targets = Targets::nobody();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for route in with_parameters() {
        let path = targets.path(route);
        let bodies = ["{", "[]", "\"x\"", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "\u{1}", deep.as_str()];
        for body in bodies {
            let answer = world.send(route.method.clone(), &path, Some(&token), body).await;
            let text = answer.refused(&format!("{} {body}", name(route)), 400);
            assert!(text.starts_with("request body is not a JSON object: "), "{}: {text}", name(route));
        }
        let answer = world.send(route.method.clone(), &path, Some(&token), b"\xff\xfe{}".as_slice()).await;
        answer.refused(&name(route), 400);
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn every_route_refuses_what_is_too_large() {
    let Some(world) = World::start().await else { return };
    let token = world.token("system").await;
    let targets = Targets::nobody();
    for route in with_parameters() {
        let limit = match route.body {
            BodyRule::Login => 4 << 10,
            BodyRule::Credential => 16 << 10,
            _ => 4 << 20,
        };
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(limit));
        let answer = world.send(route.method.clone(), &targets.path(route), Some(&token), body).await;
        answer.refused(&name(route), 413);
    }
}

#[tokio::test]
async fn every_reference_that_cannot_be_one_is_refused_or_missing() {
    let Some((world, token, before)) = prepared().await else { return };
    let targets = Targets::nobody();
    for route in with_parameters() {
        let body = targets.body(route);
        for parameter in parameters(route) {
            let marker = format!("{{{parameter}}}");
            for bad in ["%01", "a%2Fb", "%ff", "..%2f..%2fetc%2fpasswd", "'%20OR%201=1%20--"] {
                let pattern = Route {
                    path: Box::leak(route.path.replace(&marker, bad).into_boxed_str()),
                    method: route.method.clone(),
                    ..*route
                };
                let answer = world
                    .ask(route.method.clone(), &targets.path(&pattern), Some(&token), body.clone())
                    .await;
                let what = format!("{} {parameter}={bad}", name(route));
                // A text that is legal as a name finds nothing; as a key or a name of something new it is stored literally.
                let literal = bad.starts_with('\'');
                match answer.status {
                    400 => drop(answer.refused(&what, 400)),
                    404 if literal => drop(answer.refused(&what, 404)),
                    403 if literal => {}
                    other => panic!("{what}: {other} {}", answer.text),
                }
            }
        }
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn every_guarded_route_asks_for_a_token() {
    let Some(world) = World::start().await else { return };
    let before = world.fingerprint().await;
    let targets = Targets::nobody();
    let good = world.token("t1").await;
    for route in ROUTES.iter().filter(|route| matches!(route.entry, Entry::Guarded { .. })) {
        let (path, body) = (targets.path(route), targets.body(route));
        let truncated = &good[..good.len() - 1];
        let long = "x".repeat(5000);
        for token in [None, Some(""), Some("nonsense"), Some(truncated), Some(long.as_str())] {
            let answer = world.ask(route.method.clone(), &path, token, body.clone()).await;
            let text = answer.refused(&format!("{} with {token:?}", name(route)), 401);
            assert_eq!(text, "unauthorized", "{}", name(route));
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(world.fingerprint().await, before);
}
