//! Everything a node should have or still has, for its reconcile pass.

use sf_model::NodeId;
use sf_protos::networks::{ListNodeIntentsReply, ListNodeIntentsRequest, NodeIntent};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::page::Page;
use crate::sql::{rows, sql};
use crate::wire::parse;

/// A network that changed this recently is left to the render that is under way.
const SETTLING_SECONDS: u64 = 10;

rows! {
    struct Row {
        network_uuid: String,
        vxid: u32,
        generation: u64,
        present: bool,
        rendered_generation: Option<u64>,
        rendered_state: Option<String>,
        settling: bool,
    }
}

/// Networks of a node, by network: those it takes part in, and those it reported and has not removed.
///
/// # Errors
/// Those of the database.
pub async fn node_intents(
    conn: &mut Conn,
    request: &ListNodeIntentsRequest,
) -> StoreResult<ListNodeIntentsReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let page = Page::new(request.page.clone());
    let query = sql("SELECT n.uuid AS network_uuid, n.vxid, n.generation, \
         (n.state <> 'deleted' AND (m.hosts OR (m.carries AND (n.state <> 'delete-wait' OR EXISTS \
         (SELECT 1 FROM network_interfaces f WHERE f.network_uuid = n.uuid AND f.state <> 'deleted'))))) AS present, \
         r.generation AS rendered_generation, r.state AS rendered_state, \
         n.generation_changed_at > TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6)) AS settling \
         FROM (SELECT network_uuid, MAX(hosts) AS hosts, MAX(carries) AS carries FROM (\
         SELECT f.network_uuid, 1 AS hosts, 0 AS carries FROM instances i JOIN network_interfaces f ON f.instance_uuid = i.uuid \
         WHERE i.node_uuid = ? AND f.state <> 'deleted' \
         UNION ALL SELECT network_uuid, 0, 1 FROM network_carriers WHERE node_uuid = ? \
         UNION ALL SELECT network_uuid, 0, 0 FROM network_node_renders WHERE node_uuid = ? AND state <> 'absent') x \
         GROUP BY network_uuid) m JOIN networks n ON n.uuid = m.network_uuid \
         LEFT JOIN network_node_renders r ON r.network_uuid = n.uuid AND r.node_uuid = ? WHERE TRUE")
    .bind(SETTLING_SECONDS)
    .bind(node)
    .bind(node)
    .bind(node)
    .bind(node);
    let rows: Vec<Row> = page.by_key(query, "n.uuid").all(conn).await?;
    let (rows, info) = page.cut(rows, |row| row.network_uuid.clone());
    let intents = rows
        .into_iter()
        .map(|row| NodeIntent {
            network_uuid: row.network_uuid,
            vxid: row.vxid,
            generation: row.generation,
            wanted: if row.present { "present" } else { "absent" }.to_owned(),
            rendered_generation: row.rendered_generation.unwrap_or(0),
            rendered_state: row.rendered_state.unwrap_or_default(),
            settling: row.settling,
        })
        .collect();
    Ok(ListNodeIntentsReply { intents, page: Some(info) })
}
