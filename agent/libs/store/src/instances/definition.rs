//! Everything the node needs to build or start an instance, in one read.

use sf_model::{InstanceId, NetworkId};
use sf_protos::instances::{DefinitionNetwork, GetInstanceDefinitionReply, GetInstanceDefinitionRequest};

use super::view;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Bytes VXLAN takes from each frame of the network below.
const VXLAN_OVERHEAD: u32 = 50;

rows! {
    struct NetworkRow {
        uuid: NetworkId,
        vxid: u32,
        netblock: String,
        provide_dns: bool,
        provide_nat: bool,
        needs_carrier: bool,
        generation: u64,
        here_generation: Option<u64>,
        here_state: Option<String>,
        carrier_generation: Option<u64>,
        carrier_state: Option<String>,
    }
}

/// The instance, and its networks with how far their renders are.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn definition(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &GetInstanceDefinitionRequest,
) -> StoreResult<GetInstanceDefinitionReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let cluster = ctx.settings.cluster.cluster_id;
    let cluster = cluster.ok_or_else(|| {
        StoreError::Setup("the cluster has no identity: run sf-ctl bootstrap-cluster".to_owned())
    })?;
    let view = view::one(conn, instance).await?;
    let rows: Vec<NetworkRow> = sql("SELECT n.uuid, n.vxid, \
         CONCAT(n.netblock_address, '/', n.netblock_prefix) AS netblock, n.provide_dns, n.provide_nat, \
         (n.provide_dhcp OR n.provide_dns) AS needs_carrier, g.generation, here.generation AS here_generation, \
         here.state AS here_state, there.generation AS carrier_generation, there.state AS carrier_state \
         FROM instance_renders g JOIN instances i ON i.uuid = g.instance_uuid \
         JOIN networks n ON n.uuid = g.network_uuid \
         LEFT JOIN network_node_renders here ON here.network_uuid = n.uuid AND here.node_uuid = i.node_uuid \
         LEFT JOIN network_carriers c ON c.network_uuid = n.uuid \
         LEFT JOIN network_node_renders there ON there.network_uuid = n.uuid AND there.node_uuid = c.node_uuid \
         WHERE g.instance_uuid = ? ORDER BY n.uuid")
    .bind(instance)
    .all(conn)
    .await?;
    let mtu = ctx.settings.cluster.max_hypervisor_mtu.saturating_sub(VXLAN_OVERHEAD);
    Ok(GetInstanceDefinitionReply {
        instance: Some(view),
        networks: rows.into_iter().map(|row| network(row, mtu)).collect(),
        cluster_id: cluster.to_string(),
    })
}

fn network(row: NetworkRow, mtu: u32) -> DefinitionNetwork {
    let reached = |generation: Option<u64>, state: Option<&str>| {
        state == Some("present") && generation.is_some_and(|generation| generation >= row.generation)
    };
    let failed = |state: Option<&str>| matches!(state, Some("error" | "quiesced"));
    let (here, carrier) = (row.here_state.as_deref(), row.carrier_state.as_deref());
    DefinitionNetwork {
        network_uuid: row.uuid.to_string(),
        vxid: row.vxid,
        mtu,
        provide_dns: row.provide_dns,
        provide_nat: row.provide_nat,
        generation: row.generation,
        rendered_here: reached(row.here_generation, here),
        // A network without services of the carrier needs nothing from it.
        rendered_on_carrier: !row.needs_carrier || reached(row.carrier_generation, carrier),
        render_failed: failed(here) || (row.needs_carrier && failed(carrier)),
        netblock: row.netblock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(here: Option<(u64, &str)>, carrier: Option<(u64, &str)>, needs_carrier: bool) -> NetworkRow {
        NetworkRow {
            uuid: NetworkId::random(),
            vxid: 20,
            netblock: "10.0.0.0/24".into(),
            provide_dns: needs_carrier,
            provide_nat: false,
            needs_carrier,
            generation: 5,
            here_generation: here.map(|h| h.0),
            here_state: here.map(|h| h.1.to_owned()),
            carrier_generation: carrier.map(|c| c.0),
            carrier_state: carrier.map(|c| c.1.to_owned()),
        }
    }

    #[test]
    fn a_network_is_there_when_the_generation_with_the_instance_is() {
        for (here, carrier, needs, expected) in [
            (Some((5, "present")), Some((6, "present")), true, (true, true, false)),
            (Some((4, "present")), Some((6, "present")), true, (false, true, false)),
            (Some((5, "present")), None, false, (true, true, false)),
            (Some((5, "present")), None, true, (true, false, false)),
            (Some((5, "error")), Some((5, "quiesced")), true, (false, false, true)),
            (None, Some((5, "error")), false, (false, true, false)),
        ] {
            let seen = network(row(here, carrier, needs), 1450);
            assert_eq!(
                (seen.rendered_here, seen.rendered_on_carrier, seen.render_failed),
                expected,
                "{here:?} {carrier:?} {needs}"
            );
        }
    }
}
