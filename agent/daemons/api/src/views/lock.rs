//! Cluster locks (`rest-api.md` §3.1).

use serde::Serialize;
use serde_json::Value;
use sf_protos::locks::LockInfo;

#[derive(Debug, Serialize)]
struct LockView {
    node: String,
    pid: u32,
    operation: Option<String>,
}

/// The locks by name.
pub fn locks(locks: Vec<LockInfo>) -> Value {
    let view = |lock: LockInfo| {
        let holder = lock.holder.unwrap_or_default();
        let view = LockView { node: holder.node, pid: holder.pid, operation: holder.operation };
        (lock.lock_name, super::value(view))
    };
    Value::Object(locks.into_iter().map(view).collect())
}

#[cfg(test)]
mod tests {
    use sf_protos::locks::LockHolder;

    use super::*;

    #[test]
    fn locks_look_like_this() {
        let holder = LockHolder { node: "n1".into(), pid: 7, ..LockHolder::default() };
        let lock = LockInfo { lock_name: "cluster".into(), holder: Some(holder), ..LockInfo::default() };
        assert_eq!(
            locks(vec![lock]),
            serde_json::json!({"cluster": {"node": "n1", "pid": 7, "operation": null}})
        );
    }
}
