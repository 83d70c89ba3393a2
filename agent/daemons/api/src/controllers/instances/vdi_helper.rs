//! `GET /instances/{instance_ref}/vdiconsolehelper`: a file that a desktop viewer opens.

use std::fmt::Write as _;

use serde_json::json;
use sf_events::event;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_model::state::{InstanceState, Readiness};
use sf_protos::instance_node::{GetVdiEndpointReply, GetVdiEndpointRequest};

use super::get::find;
use super::node::worker;
use crate::call::Call;
use crate::controllers::objects::{Instances, Plain};
use crate::error::ApiError;
use crate::nodes::refused;
use crate::reply::{ApiResult, Reply};

/// Answers the file.
///
/// # Errors
/// 406 or 409 by state; 404 without a console; 503 when the node does not answer.
pub async fn handle(call: Call, request: Plain<Instances>) -> ApiResult {
    let instance = find(&call, request.reference, None).await?;
    let state = instance.state.as_ref().map(|state| state.state.as_str()).unwrap_or_default();
    let message = format!("instance {} is not ready ({state})", instance.uuid);
    match state.parse::<InstanceState>().map_or(Readiness::Never, InstanceState::readiness) {
        Readiness::Ready => {}
        Readiness::NotYet => return Err(ApiError::not_ready(message)),
        Readiness::Never => return Err(ApiError::conflict(message)),
        Readiness::Gone => return Err(ApiError::not_found("instance")),
    }
    if !matches!(instance.power_state.as_str(), "on" | "paused") {
        return Err(ApiError::conflict("instance is powered off"));
    }
    let (mut worker, node) = worker(&call, &instance).await?.ok_or_else(|| ApiError::not_found("console"))?;
    let wanted = GetVdiEndpointRequest { instance_uuid: instance.uuid.clone() };
    let endpoint = worker.get_vdi_endpoint(wanted).await.map_err(|status| match status.code() {
        tonic::Code::NotFound => ApiError::not_found("console"),
        _ => refused(&status, &node),
    })?;
    // A read, but one that hands out a password: it is on record like a change.
    let entry = event(EventType::Audit, "graphical console requested")
        .object(ObjectType::Instance, &instance.uuid)
        .extra(json!({ "caller": call.caller.key_name, "source": call.source.to_string() }));
    call.api.daemon.events.record(entry).await;
    Ok(Reply::bytes("application/x-virt-viewer", viewer_file(&endpoint.into_inner())))
}

fn viewer_file(endpoint: &GetVdiEndpointReply) -> String {
    let mut file = "[virt-viewer]\n".to_owned();
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() && value != "0" {
            // A line break in a value would begin a line of its own.
            let value = value.replace('\n', "\\n");
            let _ = writeln!(file, "{key}={value}");
        }
    };
    line("type", &endpoint.kind);
    line("host", &endpoint.host);
    line("port", &endpoint.port.to_string());
    line("tls-port", &endpoint.tls_port.to_string());
    line("host-subject", &endpoint.host_subject);
    line("password", &endpoint.password);
    line("delete-this-file", "1");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_there_is() {
        let endpoint = GetVdiEndpointReply {
            kind: "spice".into(),
            host: "h".into(),
            port: 30002,
            password: "p\nevil=1".into(),
            ..GetVdiEndpointReply::default()
        };
        let expected =
            "[virt-viewer]\ntype=spice\nhost=h\nport=30002\npassword=p\\nevil=1\ndelete-this-file=1\n";
        assert_eq!(viewer_file(&endpoint), expected);
    }
}
