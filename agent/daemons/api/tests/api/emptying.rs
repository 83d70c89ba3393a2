//! One request empties a namespace, however many objects it has.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use sf_store::sql::sql;

use crate::answer::Answer;
use crate::world::World;

/// More than two transactions of each kind take.
const COUNT: u32 = 120;

impl World {
    async fn run(&self, statement: &str) {
        sql(statement).run(&mut self.database.conn().await).await.unwrap();
    }

    async fn delete_all(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::DELETE, path, Some(token), json!({"confirm": true})).await
    }
}

fn uuids(entries: &Value, key: Option<&str>) -> BTreeSet<String> {
    let uuid = |entry: &Value| key.map_or(entry, |key| &entry[key]).as_str().unwrap().to_owned();
    entries.as_array().unwrap().iter().map(uuid).collect()
}

#[tokio::test]
async fn every_network_gets_a_handle_that_can_be_polled() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let mut made = BTreeSet::new();
    for index in 0..COUNT {
        let body = json!({"name": format!("n{index}"), "netblock": "10.9.0.0/24", "provide_nat": false});
        let network = world.ask(Method::POST, "/networks", Some(&token), body).await.ok("network");
        made.insert(network["uuid"].as_str().unwrap().to_owned());
    }
    let handles = world.delete_all("/networks", &token).await;
    assert_eq!(handles.status, 202, "{}", handles.text);
    let handles = handles.body;
    assert_eq!(uuids(&handles, Some("network_uuid")), made);
    for handle in handles.as_array().unwrap() {
        let path = format!("/clusteroperations/net_op/{}", handle["op_uuid"].as_str().unwrap());
        world.ask(Method::GET, &path, Some(&token), Value::Null).await.ok("handle");
    }
    // No node has rendered them, so they are gone.
    let left = world.ask(Method::GET, "/networks", Some(&token), Value::Null).await.ok("list");
    assert_eq!(left, json!([]));
}

#[tokio::test]
async fn every_artifact_is_gone_when_it_is_answered() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let artifacts = format!(
        "INSERT INTO artifacts (uuid, artifact_type, source_url, name, namespace, max_versions, state, state_changed_at, \
         created_at, version) SELECT UUID(), 'image', CONCAT('sf://upload/', seq), seq, 't1', 3, 'created', \
         UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1 FROM seq_1_to_{COUNT}"
    );
    world.run(&artifacts).await;
    let listed = world.ask(Method::GET, "/artifacts", Some(&token), Value::Null).await.ok("list");
    let deleted = world.delete_all("/artifacts", &token).await.ok("delete all");
    assert_eq!(deleted.as_array().unwrap().len(), COUNT as usize);
    assert_eq!(uuids(&deleted, None), uuids(&listed, Some("uuid")));
    let left = world.ask(Method::GET, "/artifacts", Some(&token), Value::Null).await.ok("list");
    assert_eq!(left, json!([]));

    world.run(&artifacts).await;
    let system = world.token("system").await;
    let gone = world.ask(Method::DELETE, "/auth/namespaces/t1", Some(&system), Value::Null).await;
    assert_eq!(gone.ok("namespace"), Value::Null);
    world.ask(Method::GET, "/auth/namespaces/t1", Some(&system), Value::Null).await.refused("gone", 404);
}
