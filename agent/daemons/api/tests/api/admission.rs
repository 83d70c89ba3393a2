//! What fits is admitted and the rest is refused with the account, however many ask at once.

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use sf_store::sql::sql;

use crate::world::World;

/// Instances that the hypervisor of the fixture can hold.
const ROOM: u64 = 40;
/// Creates at once.
const ASKED: usize = 100;

#[tokio::test]
async fn too_much_is_refused_with_the_account() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let create = |memory: u64| json!({"name": "big", "cpus": 1, "memory": memory, "disk": [{"size": 1}]});
    let before = world.fingerprint().await;
    let answer = world.ask(Method::POST, "/instances", Some(&token), create(1 << 20)).await;
    answer.refused("too large", 507);
    assert_eq!(answer.body["transient"], false, "{}", answer.text);
    assert!(answer.body["stage"].is_string() && answer.body["refusals"].is_array(), "{}", answer.text);
    assert!(!answer.text.contains("\"node\""), "{}", answer.text);
    assert_eq!(world.fingerprint().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_exactly_what_there_is() {
    let Some(world) = World::start().await else { return };
    let (system, tenant) = (world.token("system").await, world.token("t1").await);
    let network =
        json!({"name": "crowd", "netblock": "10.9.0.0/24", "provide_nat": false, "provide_dhcp": false});
    let network = world.ask(Method::POST, "/networks", Some(&tenant), network).await.ok("network");
    let mut conn = world.database.conn().await;
    // What sf-net would say after rendering it.
    let rendered = sql("UPDATE networks SET state = 'created' WHERE name = 'crowd'").run(&mut conn).await;
    assert_eq!(rendered.unwrap(), 1);
    let resources =
        world.ask(Method::GET, "/admin/resources", Some(&system), Value::Null).await.ok("resources");
    let memory = resources["total"]["ram_available"].as_u64().unwrap() / ROOM;
    let (world, tenant, network) = (&world, tenant.as_str(), &network["uuid"]);
    // As clients do, a request that found the tier too busy is made again.
    let create = async |number: usize| {
        let body = json!({
            "name": format!("c{number}"), "cpus": 1, "memory": memory, "disk": [{"size": 1}], "side_channels": [],
            "network": [{"network_uuid": network}],
        });
        let mut busy = 0;
        loop {
            let answer = world.ask(Method::POST, "/instances", Some(tenant), body.clone()).await;
            if answer.status != 503 {
                return (answer, busy);
            }
            busy += 1;
        }
    };
    let answers = join_all((0..ASKED).map(create)).await;
    let busy: u32 = answers.iter().map(|(_, busy)| busy).sum();
    let (refused, admitted): (Vec<_>, Vec<_>) =
        answers.into_iter().map(|(answer, _)| answer).partition(|answer| answer.status == 507);
    let admitted: Vec<_> = admitted.into_iter().map(|answer| answer.ok("admitted")).collect();
    let admitted = admitted.len() as u64;
    // An answer that came too late may have been an admission.
    assert!(admitted == ROOM || (busy > 0 && admitted < ROOM), "{admitted} admitted, {busy} times busy");
    for answer in refused {
        answer.refused("no room", 507);
        assert_eq!(answer.body["transient"], true, "{}", answer.text);
        assert!(!answer.body["refusals"].as_array().unwrap().is_empty(), "{}", answer.text);
    }

    let mut number = async |query: &str| -> u64 {
        let found: Option<u64> = sql(query.to_owned()).value(&mut conn).await.unwrap();
        found.unwrap()
    };
    assert_eq!(number("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM instances").await, ROOM);
    let drift = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM node_capacity c WHERE \
         (c.used_cpus, c.used_memory_mb, c.used_disk_gb) <> (SELECT SUM(r.cpus), SUM(r.memory_mb), SUM(r.disk_gb) \
         FROM placement_reservations r WHERE r.node_uuid = c.node_uuid)";
    assert_eq!(number(drift).await, 0, "the counters are the sum of the reservations");
    let addresses = "SELECT CAST(COUNT(DISTINCT ipv4) AS UNSIGNED) AS value FROM network_interfaces";
    assert_eq!(number(addresses).await, ROOM, "no address was given twice");
}
