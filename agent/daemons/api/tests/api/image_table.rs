//! An image table that cannot be read: what names of images stand for is not known, and nothing else suffers.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

fn create(name: &str, base: &str) -> Value {
    json!({"name": name, "cpus": 1, "memory": 1024, "disk": [{"size": 8, "base": base}], "network": []})
}

#[tokio::test]
async fn a_name_is_not_looked_up_in_another_table() {
    let Some(world) = World::start().await else { return };
    let token = world.token("t1").await;
    let table = world.directory.path().join("images.yaml");
    let post = async |body: Value| world.ask(Method::POST, "/instances", Some(&token), body).await;
    std::fs::write(&table, "images: [unfinished").unwrap();
    let before = world.fingerprint().await;
    let answer = post(create("named", "debian:12")).await;
    assert!(answer.refused("a name", 503).contains("sf-ctl config check"), "{}", answer.text);
    assert_eq!(answer.headers["retry-after"], "60");
    assert_eq!(world.fingerprint().await, before);
    post(create("blank", "")).await.ok("no name to look up");
    std::fs::remove_file(&table).unwrap();
    post(create("named", "debian:12")).await.ok("the built-in table knows the name");
}
