//! Answers as clients need them that predate 202 and object lists and cannot be changed (`rest-api.md` §1.16).

use http::header::USER_AGENT;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::api::Api;
use crate::reply::{Content, Reply};
use crate::routes::Route;

/// Which old client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// None of them.
    Current,
    /// The Python client before 0.8.3.
    OldPython,
    /// The Go client.
    Go,
}

/// The first release of the Python client that reads 202.
const CURRENT_PYTHON: [u64; 3] = [0, 8, 3];

pub(super) fn profile(api: &Api, headers: &HeaderMap) -> Profile {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if api.daemon.cluster.current().api_legacy_clients { of_agent(agent) } else { Profile::Current }
}

fn of_agent(agent: &str) -> Profile {
    if agent.starts_with("Go-http-client/") {
        return Profile::Go;
    }
    let version = agent.split_once("Shaken Fist/").and_then(|(_, version)| first_three(version));
    match version {
        Some(version) if version < CURRENT_PYTHON => Profile::OldPython,
        _ => Profile::Current,
    }
}

fn first_three(version: &str) -> Option<[u64; 3]> {
    let mut numbers = version.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    Some([numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)])
}

pub(super) fn adapt(profile: Profile, route: &Route, mut reply: Reply) -> Reply {
    if profile == Profile::Current {
        return reply;
    }
    if reply.status == StatusCode::ACCEPTED {
        reply.status = StatusCode::OK;
    }
    if let (Profile::Go, Content::Json(body)) = (profile, &mut reply.content) {
        simplify(route, body);
    }
    reply
}

/// The Go client decodes into lists of strings and maps of strings.
fn simplify(route: &Route, body: &mut Value) {
    let pick = |field: &'static str| {
        move |item: &mut Value| {
            let picked = item.get(field).cloned();
            *item = picked.unwrap_or(Value::Null);
        }
    };
    match (route.method.clone(), route.path) {
        (Method::GET, "/auth/namespaces") => items(body).for_each(pick("name")),
        (Method::DELETE, "/networks") => items(body).for_each(pick("network_uuid")),
        (Method::GET, path) if path.ends_with("/metadata") => {
            for value in body.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
                if !value.is_string() {
                    *value = Value::String(value.to_string());
                }
            }
        }
        _ => {}
    }
}

fn items(body: &mut Value) -> impl Iterator<Item = &mut Value> {
    body.as_array_mut().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::find;
    use serde_json::json;

    #[test]
    fn clients_are_known_by_their_agent() {
        for (agent, profile) in [
            ("Go-http-client/1.1", Profile::Go),
            ("Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/0.7.30", Profile::OldPython),
            ("Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/0.8.2.dev3", Profile::OldPython),
            ("Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/0.8.3", Profile::Current),
            (
                "Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/unreleased development version",
                Profile::Current,
            ),
            ("curl/8", Profile::Current),
            ("", Profile::Current),
        ] {
            assert_eq!(of_agent(agent), profile, "{agent}");
        }
    }

    #[test]
    fn answers_are_simplified_for_go() {
        let adapted = |method: Method, path: &str, body: Value| {
            let reply = adapt(Profile::Go, find(&method, path).unwrap(), Reply::accepted_with(body));
            assert_eq!(reply.status, StatusCode::OK);
            match reply.content {
                Content::Json(body) => body,
                _ => Value::Null,
            }
        };
        assert_eq!(adapted(Method::GET, "/auth/namespaces", json!([{"name": "a"}])), json!(["a"]));
        assert_eq!(adapted(Method::DELETE, "/networks", json!([{"network_uuid": "u"}])), json!(["u"]));
        let metadata = json!({"a": "x", "b": {"c": 1}});
        assert_eq!(
            adapted(Method::GET, "/networks/{network_ref}/metadata", metadata),
            json!({"a": "x", "b": "{\"c\":1}"})
        );
    }

    #[test]
    fn the_old_python_client_gets_200_and_the_same_body() {
        let route = find(&Method::GET, "/auth/namespaces").unwrap();
        let reply = adapt(Profile::OldPython, route, Reply::accepted_with(json!([{"name": "a"}])));
        assert!(matches!(reply.content, Content::Json(body) if body == json!([{"name": "a"}])));
        let reply = adapt(Profile::Current, route, Reply::accepted_with(json!(null)));
        assert_eq!(reply.status, StatusCode::ACCEPTED);
    }
}
