//! `sf-node standalone --stop`: ends whatever runs in a data directory.

use std::time::Duration;

use nix::unistd::Pid;
use serde_json::json;

use super::layout::Layout;
use super::{libvirt, mariadb, process, report};
use crate::answer::Answer;
use crate::failure::{Exit, Failure};

/// Longer than the agent takes to drain.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends the agent, then its helpers. Guests that still run are left to their owner.
pub(super) async fn everything(layout: &Layout) -> Result<Answer, Failure> {
    if !layout.root().exists() {
        return Ok(Answer::new(json!({ "stopped": [] }), "nothing runs there"));
    }
    let mut stopped = Vec::new();
    let running = layout.lock().is_err();
    if running {
        let pid = report::pid(layout);
        let pid = pid.ok_or_else(|| {
            Failure::say(Exit::Internal, "an agent holds the directory, but standalone.json does not name it")
        })?;
        process::end(Pid::from_raw(pid), PATIENCE).await;
        stopped.push("agent".to_owned());
    }
    // Nobody may start helpers again while they are ended.
    let _lock = layout.lock()?;
    stopped.extend(libvirt::pids(layout).into_iter().map(|(name, _)| name.to_owned()));
    libvirt::stop(layout).await;
    if mariadb::alive(layout).is_some() {
        stopped.push("mariadbd".to_owned());
        mariadb::stop(layout).await;
    }
    report::remove(layout);
    let changed = !stopped.is_empty();
    let text = if changed { format!("stopped: {}", stopped.join(", ")) } else { "nothing ran".to_owned() };
    Ok(Answer::new(json!({ "stopped": stopped }), text).changed(changed))
}
