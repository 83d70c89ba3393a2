//! What a request changed is in the audit trail, whatever the request was answered.

use http::Method;
use serde_json::json;
use sf_store::sql::sql;

use crate::world::World;

#[tokio::test]
async fn what_a_refused_request_changed_is_told() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let mut networks = Vec::new();
    for name in ["free", "used"] {
        let body = json!({"name": name, "netblock": "10.9.0.0/24", "provide_nat": false});
        networks.push(
            world.ask(Method::POST, "/networks", Some(&token), body).await.ok("network")["uuid"].clone(),
        );
    }
    let mut conn = world.database.conn().await;
    // What sf-net would say after rendering it.
    sql("UPDATE networks SET state = 'created' WHERE name = 'used'").run(&mut conn).await.unwrap();
    let guest = json!({
        "name": "guest", "cpus": 1, "memory": 1024, "disk": [{"size": 1}], "side_channels": [],
        "network": [{"network_uuid": networks[1]}],
    });
    world.ask(Method::POST, "/instances", Some(&token), guest).await.ok("instance");

    let answer = world.ask(Method::DELETE, "/networks", Some(&token), json!({"confirm": true})).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert_eq!(answer.body["error"]["unable"], json!([networks[1]]));
    world.store_events().await;
    let told: Vec<String> = sql(
        "SELECT CONCAT_WS(' ', o.object_id, JSON_VALUE(e.extra, '$.status'), JSON_VALUE(e.extra, '$.key_name')) AS value \
         FROM events e JOIN event_objects o ON o.event_uuid = e.event_uuid \
         WHERE e.message = 'network deletion requested' AND JSON_VALUE(e.extra, '$.route') = '/networks'",
    )
    .values(&mut conn)
    .await
    .unwrap();
    assert_eq!(told, [format!("{} 403 fixture", networks[0].as_str().unwrap())]);
}
