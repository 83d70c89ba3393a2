//! The addresses of a network that are not free.

use chrono::{DateTime, Utc};
use sf_protos::common::ObjectRef;
use sf_protos::networks::{Address, ListAddressesReply, ListAddressesRequest};

use super::view;
use crate::allocator::address;
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::lookup::Viewer;
use crate::page::Page;
use crate::sql::{rows, sql};
use crate::wire::timestamp;

rows! {
    struct Row {
        value: u64,
        state: String,
        owner_type: Option<String>,
        owner_uuid: Option<String>,
        purpose: String,
        allocated_at: DateTime<Utc>,
        comment: String,
    }
}

/// Held and resting addresses, by address.
///
/// # Errors
/// [`crate::StoreError::Missing`].
pub async fn list_addresses(
    conn: &mut Conn,
    request: &ListAddressesRequest,
) -> StoreResult<ListAddressesReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let network = view::resolve(conn, &viewer, request.selector.as_ref()).await?;
    let page = Page::new(request.page.clone());
    let query =
        sql("SELECT a.value, a.state, a.owner_type, a.owner_uuid, a.purpose, a.allocated_at, a.comment \
         FROM resource_pool_allocations a WHERE a.pool = ?")
        .bind(format!("ipv4:{network}"));
    let rows: Vec<Row> = page.by_key(query, "a.value").all(conn).await?;
    let (rows, info) = page.cut(rows, |row| row.value.to_string());
    let addresses = rows
        .into_iter()
        .map(|row| Address {
            address: address(row.value).to_string(),
            kind: if row.state == "halo" { "deletion-halo".to_owned() } else { row.purpose },
            user: row
                .owner_type
                .zip(row.owner_uuid)
                .map(|(object_type, object_id)| ObjectRef { object_type, object_id }),
            when: Some(timestamp(row.allocated_at)),
            comment: row.comment,
        })
        .collect();
    Ok(ListAddressesReply { addresses, page: Some(info) })
}
