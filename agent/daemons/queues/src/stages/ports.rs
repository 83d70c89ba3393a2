//! Port clashes at start: a port that cannot be bound is swapped for another one of the pool.

use std::net::{IpAddr, SocketAddr, TcpListener};

use sf_gateway::CallClass;
use sf_protos::instances::SwapPortRequest;

use super::Plan;
use super::domain::{console_address, graphics_address};
use crate::error::Stop;
use crate::worker::Worker;

/// Swaps every port of the instance that something else on this host holds. False: all of them are free, so the
/// start failed for another reason.
pub(crate) async fn swap_taken(worker: &Worker, plan: &mut Plan) -> Result<bool, Stop> {
    let mut swapped = false;
    if worker.cluster().serial_telnet && !is_free(console_address(worker), plan.console_port) {
        plan.console_port = swap(worker, plan, "console", plan.console_port).await?;
        swapped = true;
    }
    if !is_free(graphics_address(worker), plan.vdi_port) {
        plan.vdi_port = swap(worker, plan, "vdi", plan.vdi_port).await?;
        swapped = true;
    }
    Ok(swapped)
}

async fn swap(worker: &Worker, plan: &Plan, kind: &str, old: u16) -> Result<u16, Stop> {
    let request = SwapPortRequest {
        context: None,
        instance_uuid: plan.instance.to_string(),
        placement_seq: plan.placement_seq,
        kind: kind.to_owned(),
        old_port: u32::from(old),
    };
    let port = worker.context.gateway.call(CallClass::Background, request).await?.port;
    metrics::counter!("sf_port_swaps_total").increment(1);
    let event = crate::record::status(plan.instance, "instance ports clash during boot attempt");
    worker.record(event.extra(serde_json::json!({ "kind": kind, "old": old, "new": port }))).await;
    u16::try_from(port).map_err(|_| Stop::permanent("port", format!("port {port} is out of range")))
}

/// Whether the port can be listened on. Listening is the test, because that is what QEMU will do.
fn is_free(address: IpAddr, port: u16) -> bool {
    TcpListener::bind(SocketAddr::new(address, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let holder = TcpListener::bind((address, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        assert!(!is_free(address, port));
        drop(holder);
        assert!(is_free(address, port));
    }
}
