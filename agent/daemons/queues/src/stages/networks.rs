//! Stage C3: the networks of the instance are rendered. Never waited for here: the queue hands the work out again.

use std::path::Path;
use std::time::Duration;

use super::Plan;
use crate::error::Stop;
use crate::worker::Worker;

/// A render takes some tens of milliseconds, so asking again soon costs little and starts guests early.
const SOON: Duration = Duration::from_millis(250);

/// Stops with a deferral until every network is present here.
pub(crate) fn rendered(worker: &Worker, plan: &Plan) -> Result<(), Stop> {
    for network in &plan.networks {
        let wait = |what: &str| {
            let reason = format!("network {} is not ready: {what}", network.network_uuid);
            Err(Stop::Defer { reason, delay: Some(SOON) })
        };
        if network.render_failed {
            // The network worker goes on trying; the operation's deadline bounds the wait.
            return Err(Stop::defer(format!("network {} could not be prepared yet", network.network_uuid)));
        }
        if !network.rendered_here {
            return wait("not rendered on this node");
        }
        if !network.rendered_on_carrier {
            return wait("not rendered on its carrier");
        }
    }
    if worker.host()?.recording {
        return Ok(());
    }
    for interface in &plan.interfaces {
        let bridge = format!("br-vxlan-{}", interface.vxid.hex());
        if !Path::new("/sys/class/net").join(&bridge).exists() {
            return Err(Stop::Defer { reason: format!("bridge {bridge} is not there"), delay: Some(SOON) });
        }
    }
    Ok(())
}
