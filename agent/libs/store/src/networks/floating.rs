//! The floating network: made once by bootstrap, never lazily (`networking.md` §2.3).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sf_model::NetworkId;

use super::{VERSION, netblock};
use crate::allocator::{self, Pool, value_of};
use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{rows, sql};

/// What bootstrap found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floating {
    /// The network and its reserved addresses were written.
    Created,
    /// They existed with this block.
    Present,
    /// The block was changed; no address was in use outside the new one.
    Moved,
}

rows! {
    struct Present {
        netblock_address: Ipv4Addr,
        netblock_prefix: u8,
    }
}

/// Makes the floating network and reserves what nobody may have. Run again, it changes nothing.
///
/// # Errors
/// A precondition `in-use` when the configured block would leave an address that is in use outside.
pub async fn bootstrap_floating(conn: &mut Conn, settings: &Settings) -> StoreResult<Floating> {
    let block = settings.floating_network.trunc();
    let present: Option<Present> =
        sql("SELECT netblock_address, netblock_prefix FROM networks WHERE uuid = ? FOR UPDATE")
            .bind(NetworkId::FLOATING)
            .first_row(conn)
            .await?;
    let Some(present) = present else {
        insert(conn, settings, block).await?;
        reserve(conn, settings, block).await?;
        return Ok(Floating::Created);
    };
    if super::block(present.netblock_address, present.netblock_prefix)? == block {
        return Ok(Floating::Present);
    }
    let pool = Pool::floating(settings);
    let outside: Option<u64> =
        sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM resource_pool_allocations \
         WHERE pool = ? AND state = 'held' AND owner_uuid <> ? AND value NOT BETWEEN ? AND ?")
        .bind(pool.name())
        .bind(NetworkId::FLOATING)
        .bind(value_of(block.network()))
        .bind(value_of(block.broadcast()))
        .value(conn)
        .await?;
    if let Some(outside @ 1..) = outside {
        let message = format!("{outside} floating addresses are in use outside {block}: release them first");
        return Err(StoreError::precondition(reason::IN_USE, message).with("addresses", outside));
    }
    sql("DELETE FROM resource_pool_allocations WHERE pool = ? AND (owner_uuid = ? OR state = 'halo')")
        .bind(pool.name())
        .bind(NetworkId::FLOATING)
        .run(conn)
        .await?;
    sql("UPDATE networks SET netblock_address = ?, netblock_prefix = ?, generation = generation + 1, \
         row_version = row_version + 1 WHERE uuid = ?")
    .bind(block.network())
    .bind(block.prefix_len())
    .bind(NetworkId::FLOATING)
    .run(conn)
    .await?;
    reserve(conn, settings, block).await?;
    Ok(Floating::Moved)
}

async fn insert(conn: &mut Conn, settings: &Settings, block: Ipv4Net) -> StoreResult<()> {
    sql("INSERT INTO networks (uuid, kind, name, netblock_address, netblock_prefix, provide_dhcp, provide_nat, provide_dns, \
         vxid, port_security, generation, generation_changed_at, state, state_changed_at, created_at, version) \
         VALUES (?, 'floating', 'floating', ?, ?, FALSE, FALSE, FALSE, 0, ?, 1, UTC_TIMESTAMP(6), 'created', \
         UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(NetworkId::FLOATING)
    .bind(block.network())
    .bind(block.prefix_len())
    .bind(settings.port_security_default.to_string())
    .bind(VERSION)
    .run(conn)
    .await?;
    Ok(())
}

async fn reserve(conn: &mut Conn, settings: &Settings, block: Ipv4Net) -> StoreResult<()> {
    let router = settings.floating_router.unwrap_or_else(|| netblock::gateway(block));
    let mut values = vec![
        (value_of(block.network()), "network", ""),
        (value_of(router), "gateway", "router"),
        (value_of(block.broadcast()), "broadcast", ""),
    ];
    for excluded in &settings.floating_exclude {
        for address in range(excluded, block)? {
            let value = value_of(address);
            if !values.iter().any(|(taken, ..)| *taken == value) {
                values.push((value, "unknown", "excluded by configuration"));
            }
        }
    }
    let pool = Pool::floating(settings);
    for chunk in values.chunks(500) {
        allocator::reserve_all(conn, &pool, NetworkId::FLOATING.into(), chunk).await?;
    }
    Ok(())
}

/// The addresses of `block` that an address, a block or a range `first-last` names.
fn range(text: &str, block: Ipv4Net) -> StoreResult<Vec<Ipv4Addr>> {
    let bad = || StoreError::Setup(format!("floating_exclude: {text} is no address, block or range"));
    let (first, last) = if let Ok(net) = text.parse::<Ipv4Net>() {
        (net.network(), net.broadcast())
    } else if let Some((first, last)) = text.split_once('-') {
        (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?)
    } else {
        let one: Ipv4Addr = text.parse().map_err(|_| bad())?;
        (one, one)
    };
    let first = u32::from(first).max(u32::from(block.network()));
    let last = u32::from(last).min(u32::from(block.broadcast()));
    Ok((first..=last).map(Ipv4Addr::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusions_are_addresses_blocks_and_ranges() {
        let block: Ipv4Net = "192.168.20.0/28".parse().unwrap();
        for (text, count) in [
            ("192.168.20.5", 1),
            ("192.168.20.8/30", 4),
            ("192.168.20.1-192.168.20.3", 3),
            ("10.0.0.0/24", 0),
        ] {
            assert_eq!(range(text, block).unwrap().len(), count, "{text}");
        }
        assert!(range("nonsense", block).is_err());
    }
}
