//! Which build this is.

use serde_json::json;

use crate::answer::Answer;

/// Names of network devices that the agent makes, for the service managers that must leave them alone.
const IFNAME_GLOBS: [&str; 7] = ["vxlan-*", "br-*", "egr-*", "egr*-*", "veth-*", "phy-*", "tap*"];

pub(crate) fn show() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    let release = sf_daemon::Release::own().to_string();
    Answer::new(
        json!({ "version": version, "release": release, "ifname_globs": IFNAME_GLOBS }),
        format!("sf-node {version}"),
    )
}
