//! Bad input at every route: the status and body of the contract, and nothing changed.

use http::Method;
use serde_json::{Value, json};
use sf_daemon_api::routes::{BodyRule, Entry, ROUTES, Route};

use crate::answer::Answer;
use crate::requests::Targets;
use crate::world::World;

/// A world, an administrator of it, and paths to nothing.
struct Attempt {
    world: World,
    token: String,
    targets: Targets,
    before: Vec<(String, u64)>,
}

impl Attempt {
    async fn start() -> Option<Self> {
        let world = World::start().await?;
        let token = world.token("system").await;
        let before = world.fingerprint().await;
        Some(Self { world, token, targets: Targets::nobody(), before })
    }

    async fn ask(&self, route: &Route, path: &str, body: Value) -> Answer {
        self.world.ask(route.method.clone(), path, Some(&self.token), body).await
    }

    async fn send(&self, route: &Route, body: impl Into<Vec<u8>>) -> Answer {
        self.world.send(route.method.clone(), &self.targets.path(route), Some(&self.token), body).await
    }

    async fn nothing_changed(self) {
        let after = self.world.fingerprint().await;
        let changed: Vec<_> =
            self.before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(changed.is_empty(), "{changed:?}");
    }
}

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

fn parameters(route: &Route) -> Vec<String> {
    let segments = route.path.split('/');
    segments.filter_map(|s| Some(s.strip_prefix('{')?.strip_suffix('}')?.to_owned())).collect()
}

/// Fails unless the answer is a 400 with exactly this sentence.
fn expect(answer: &Answer, route: &Route, sentence: &str) {
    assert_eq!(answer.refused(&name(route), 400), sentence, "{}", name(route));
}

#[tokio::test]
async fn every_route_refuses_what_it_does_not_declare() {
    let Some(attempt) = Attempt::start().await else { return };
    for route in with_parameters() {
        let (path, body) = (attempt.targets.path(route), attempt.targets.body(route));
        let undeclared = "made_up: not declared by this endpoint";
        let in_body = attempt.ask(route, &path, with(&body, "made_up", json!(1))).await;
        expect(&in_body, route, undeclared);
        let in_query = attempt.ask(route, &format!("{path}?made_up=1"), body.clone()).await;
        expect(&in_query, route, undeclared);
        for parameter in parameters(route) {
            let twice = attempt.ask(route, &path, with(&body, &parameter, json!("x"))).await;
            expect(&twice, route, &format!("{parameter}: is part of the path"));
        }
    }
    attempt.nothing_changed().await;
}

#[tokio::test]
async fn every_declared_field_refuses_the_wrong_type() {
    let Some(attempt) = Attempt::start().await else { return };
    for route in with_parameters() {
        let (path, body) = (attempt.targets.path(route), attempt.targets.body(route));
        for field in body.as_object().unwrap().keys().filter(|field| *field != "value") {
            let answer = attempt.ask(route, &path, with(&body, field, json!({"nested": [1]}))).await;
            let text = answer.refused(&format!("{} {field}", name(route)), 400);
            assert!(text.starts_with(&format!("{field}: ")), "{} {field}: {text}", name(route));
        }
    }
    attempt.nothing_changed().await;
}

#[tokio::test]
async fn every_required_field_is_missed() {
    let Some(attempt) = Attempt::start().await else { return };
    for route in with_parameters() {
        let (path, body) = (attempt.targets.path(route), attempt.targets.body(route));
        for field in body.as_object().unwrap().keys().filter(|field| is_required(route, field)) {
            let answer = attempt.ask(route, &path, with(&body, field, Value::Null)).await;
            expect(&answer, route, &format!("{field}: required"));
        }
    }
    attempt.nothing_changed().await;
}

/// Fields of the valid bodies that may be left out all the same.
fn is_required(route: &Route, field: &str) -> bool {
    let generated = route.method == Method::POST && route.path.ends_with("/keys") && field == "key";
    let elsewhere = field == "namespace" && !route.path.starts_with("/auth");
    !generated && !elsewhere && field != "upload_uuid"
}

#[tokio::test]
async fn every_route_refuses_bodies_that_are_not_objects() {
    let Some(attempt) = Attempt::start().await else { return };
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let bodies = ["{", "[]", "\"x\"", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "\u{1}", deep.as_str()];
    for route in with_parameters() {
        for body in bodies {
            let answer = attempt.send(route, body).await;
            let text = answer.refused(&format!("{} {body}", name(route)), 400);
            assert!(text.starts_with("request body is not a JSON object: "), "{}: {text}", name(route));
        }
        attempt.send(route, b"\xff\xfe{}".as_slice()).await.refused(&name(route), 400);
    }
    attempt.nothing_changed().await;
}

#[tokio::test]
async fn every_route_refuses_what_is_too_large() {
    let Some(attempt) = Attempt::start().await else { return };
    for route in with_parameters() {
        let limit = match route.body {
            BodyRule::Login => 4 << 10,
            BodyRule::Credential => 16 << 10,
            _ => 4 << 20,
        };
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(limit));
        attempt.send(route, body).await.refused(&name(route), 413);
    }
    attempt.nothing_changed().await;
}

#[tokio::test]
async fn every_reference_that_cannot_be_one_is_refused_or_missing() {
    let Some(attempt) = Attempt::start().await else { return };
    for route in with_parameters() {
        for parameter in parameters(route) {
            let marker = format!("{{{parameter}}}");
            for bad in ["%01", "a%2Fb", "%ff", "..%2f..%2fetc%2fpasswd", "'%20OR%201=1%20--"] {
                let path = attempt.targets.path_of(&route.path.replace(&marker, bad));
                let answer = attempt.ask(route, &path, attempt.targets.body(route)).await;
                let what = format!("{} {parameter}={bad}", name(route));
                // A text that is legal as a name is looked for literally, and is not there.
                let literal = bad.starts_with('\'');
                match answer.status {
                    400 => drop(answer.refused(&what, 400)),
                    404 if literal => drop(answer.refused(&what, 404)),
                    other => panic!("{what}: {other} {}", answer.text),
                }
            }
        }
    }
    attempt.nothing_changed().await;
}

#[tokio::test]
async fn every_guarded_route_asks_for_a_token() {
    let Some(attempt) = Attempt::start().await else { return };
    let truncated = &attempt.token[..attempt.token.len() - 1];
    let long = "x".repeat(5000);
    for route in ROUTES.iter().filter(|route| matches!(route.entry, Entry::Guarded { .. })) {
        for token in [None, Some(""), Some("nonsense"), Some(truncated), Some(long.as_str())] {
            let (path, body) = (attempt.targets.path(route), attempt.targets.body(route));
            let answer = attempt.world.ask(route.method.clone(), &path, token, body).await;
            assert_eq!(answer.refused(&name(route), 401), "unauthorized", "{}", name(route));
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    attempt.nothing_changed().await;
}
