//! Which build this is.

use std::path::Path;

use serde_json::json;
use sf_daemon::Release;
use sf_netstate::names;
use sf_store::migrate;
use sf_units::binary;

use crate::answer::Answer;
use crate::failure::{Exit, Failure};

/// The executable of this process, also when its file was replaced.
const OWN: &str = "/proc/self/exe";

/// `--version`.
pub(crate) fn show() -> Result<Answer, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let own = Path::new(OWN);
    let needs = binary::needs(own).map_err(|error| Failure::new(Exit::Internal, error))?;
    let build_id = binary::build_id(own).map_err(|error| Failure::new(Exit::Internal, error))?;
    let (release, schema) = (Release::own(), migrate::built_version());
    Ok(Answer::new(
        json!({
            "version": version, "release": release.to_string(), "git": option_env!("SF_GIT").unwrap_or("unknown"),
            "build_id": build_id, "schema": { "min": schema, "max": schema },
            "cluster_window": { "min": release.oldest_cluster().to_string(), "max": release.to_string() },
            "arch": needs.arch, "glibc_min": needs.glibc, "libvirt_min": needs.libvirt, "ifname_globs": names::GLOBS,
        }),
        format!("sf-node {version}"),
    ))
}
