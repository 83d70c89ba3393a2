//! What belongs to one tenant is missing for another, in the same words as what does not exist.

use http::Method;
use serde_json::{Value, json};
use sf_daemon_api::routes::{Access, Entry, ROUTES};

use crate::requests::{NOBODY, Targets};
use crate::world::World;

/// One object of every kind that t1 can have without a worker.
async fn furnish(world: &World, token: &str) -> Targets {
    let network =
        json!({"name": "lan", "netblock": "10.9.0.0/24", "provide_nat": false, "provide_dhcp": false});
    let network = world.ask(Method::POST, "/networks", Some(token), network).await.ok("network");
    let artifact = json!({"url": "http://images.example.com/tiny.qcow2"});
    let artifact = world.ask(Method::POST, "/artifacts", Some(token), artifact).await.ok("artifact");
    let instance = json!({"name": "web", "cpus": 1, "memory": 256, "disk": [{"size": 1}], "network": null});
    let instance = world.ask(Method::POST, "/instances", Some(token), instance).await.ok("instance");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let operations = world
        .ask(
            Method::GET,
            &format!("/instances/{}/clusteroperations?all=true", text(&instance["uuid"])),
            Some(token),
            Value::Null,
        )
        .await
        .ok("operations");
    Targets {
        namespace: "t1".to_owned(),
        network: text(&network["uuid"]),
        instance: text(&instance["uuid"]),
        interface: NOBODY.to_owned(),
        artifact: text(&artifact["uuid"]),
        operation: text(&operations[0]["uuid"]),
    }
}

#[tokio::test]
async fn foreign_objects_look_like_missing_ones() {
    let Some(world) = World::start().await else { return };
    let targets = furnish(&world, &world.token("t1").await).await;
    let token = world.token("t2").await;
    let before = world.fingerprint().await;
    for route in ROUTES {
        let Entry::Guarded { access, .. } = route.entry else { continue };
        if matches!(access, Access::Authenticated | Access::System) || route.path.contains("upload") {
            continue;
        }
        let what = format!("{} {}", route.method, route.path);
        let ask = async |targets: &Targets| {
            world.ask(route.method.clone(), &targets.path(route), Some(&token), targets.body(route)).await
        };
        let foreign = ask(&targets).await;
        let missing = ask(&Targets::nobody()).await;
        foreign.refused(&what, 404);
        missing.refused(&what, 404);
        assert_eq!(foreign.error(), missing.error(), "{what}");
        assert!(foreign.error().contains("not found"), "{what}: {}", foreign.text);
    }
    for path in ["/networks", "/instances", "/artifacts"] {
        let list = world.ask(Method::GET, path, Some(&token), json!({})).await.ok(path);
        assert_eq!(list, json!([]), "{path}");
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn tenants_are_not_administrators() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let before = world.fingerprint().await;
    let targets = Targets::nobody();
    for route in ROUTES {
        let Entry::Guarded { access: Access::System, .. } = route.entry else { continue };
        let what = format!("{} {}", route.method, route.path);
        let answer =
            world.ask(route.method.clone(), &targets.path(route), Some(&token), targets.body(route)).await;
        assert_eq!(answer.refused(&what, 403), "only the system namespace may do this", "{what}");
    }
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test]
async fn a_foreign_namespace_in_a_body_is_missing() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t2").await;
    let targets = Targets::nobody();
    for path in ["/networks", "/instances", "/artifacts"] {
        let route = sf_daemon_api::routes::find(&Method::POST, path).unwrap();
        let mut body = targets.body(route);
        body["namespace"] = json!("t1");
        let answer = world.ask(Method::POST, path, Some(&token), body).await;
        assert_eq!(answer.refused(path, 404), "namespace not found");
        let all = json!({"confirm": true, "namespace": "t1"});
        world.ask(Method::DELETE, path, Some(&token), all).await.refused(path, 403);
    }
}

#[tokio::test]
async fn what_a_tenant_makes_it_finds_again() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let targets = furnish(&world, &token).await;
    for (path, uuid) in [
        ("/networks/lan", &targets.network),
        ("/instances/web", &targets.instance),
        (&format!("/artifacts/{}", targets.artifact), &targets.artifact),
    ] {
        let answer = world.ask(Method::GET, path, Some(&token), Value::Null).await;
        assert_eq!(answer.ok(path)["uuid"], **uuid, "{path}");
    }
    let metadata = format!("/networks/{}/metadata", targets.network);
    world
        .ask(Method::PUT, &format!("{metadata}/note"), Some(&token), json!({"value": {"a": 1}}))
        .await
        .ok("put");
    assert_eq!(
        world.ask(Method::GET, &metadata, Some(&token), Value::Null).await.ok("get"),
        json!({"note": {"a": 1}})
    );
    world.ask(Method::DELETE, &format!("{metadata}/note"), Some(&token), Value::Null).await.ok("delete");
    assert_eq!(world.ask(Method::GET, &metadata, Some(&token), Value::Null).await.ok("get"), json!({}));
    let addresses = format!("/networks/{}/addresses", targets.network);
    let addresses = world.ask(Method::GET, &addresses, Some(&token), Value::Null).await.ok("addresses");
    assert!(addresses.as_array().unwrap().iter().all(|one| one["user"].is_array()), "{addresses}");
    let deleted = world.ask(Method::DELETE, "/networks/lan", Some(&token), Value::Null).await;
    assert_eq!(deleted.status, 202, "{}", deleted.text);
    let handle = deleted.body;
    let path = format!(
        "/clusteroperations/{}/{}",
        handle["op_type"].as_str().unwrap(),
        handle["op_uuid"].as_str().unwrap()
    );
    let operation = world.ask(Method::GET, &path, Some(&token), Value::Null).await.ok("operation");
    assert_eq!(operation["network_uuid"], targets.network);
}
