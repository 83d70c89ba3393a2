//! Networks, their interfaces, carriers and renders (`networking.md` §2, §9, §11–§16).
//!
//! Every change that affects rendering takes the row of the network exclusively and bumps its generation. Whoever
//! computes an intent holds that row in share mode, so an intent is one consistent picture at one generation.

mod addresses;
mod audit;
mod carriers;
mod claims;
mod create;
mod delete;
mod finish;
mod floating;
mod hard_delete;
mod intent;
pub mod interfaces;
mod netblock;
pub mod render;
mod report;
mod sessions;
mod view;

pub use addresses::list_addresses;
pub use audit::{audit, sweep_pools};
pub use carriers::assign_carriers;
pub use claims::{claim_renders, nodes_with_renders, renew_claims};
pub use create::create;
pub use delete::{delete, delete_all};
pub use floating::{Floating, bootstrap_floating};
pub use hard_delete::hard_delete;
pub use intent::{host_intent, intent_of, node_intents};
pub use render::node_moved;
pub use report::report_render;
pub use sessions::renew_session;
pub use view::{get, list, load};

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sf_model::{NetworkId, ObjectRef, ObjectType};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

/// Schema version of the views.
const VERSION: u32 = 1;
/// Bytes that VXLAN over IPv4 adds to a frame (`networking.md` §4).
const OVERHEAD: u32 = 50;
/// Reason of a refusal of a block of addresses: answered with 400.
pub const BAD_NETBLOCK: &str = "bad-netblock";
/// Reason of a refusal to change the floating network: answered with 403.
pub const FLOATING_FIXED: &str = "floating-network";

rows! {
    /// A locked network.
    struct Held {
        uuid: NetworkId,
        namespace: Option<String>,
        netblock_address: Ipv4Addr,
        netblock_prefix: u8,
        vxid: u32,
        floating_gateway: Option<Ipv4Addr>,
        generation: u64,
        delete_operation: Option<sf_model::OperationId>,
        state: String,
    }
}

impl Held {
    /// Its block of addresses.
    fn netblock(&self) -> StoreResult<Ipv4Net> {
        block(self.netblock_address, self.netblock_prefix)
    }
}

/// Locks a network exclusively.
async fn lock(conn: &mut Conn, network: NetworkId) -> StoreResult<Held> {
    let held: Option<Held> =
        sql("SELECT uuid, namespace, netblock_address, netblock_prefix, vxid, floating_gateway, \
         generation, delete_operation, state FROM networks WHERE uuid = ? FOR UPDATE")
        .bind(network)
        .first_row(conn)
        .await?;
    held.ok_or_else(|| StoreError::missing(ObjectType::Network, network))
}

/// Interfaces that are not deleted.
async fn live_interfaces(conn: &mut Conn, network: NetworkId) -> StoreResult<u64> {
    let count: Option<u64> = sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM network_interfaces \
         WHERE network_uuid = ? AND state <> 'deleted'")
    .bind(network)
    .value(conn)
    .await?;
    Ok(count.unwrap_or(0))
}

fn block(address: Ipv4Addr, prefix: u8) -> StoreResult<Ipv4Net> {
    Ipv4Net::new(address, prefix)
        .map_err(|_| StoreError::Corrupt(format!("a network of prefix length {prefix}")))
}

/// Guest MTU for an underlay MTU.
fn mtu(settings: &sf_config::ClusterConfig) -> u32 {
    settings.max_hypervisor_mtu.saturating_sub(OVERHEAD)
}

fn object(network: NetworkId) -> ObjectRef {
    ObjectRef::new(ObjectType::Network, network)
}
