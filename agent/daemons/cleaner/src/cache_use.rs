//! Telling the storage daemon which cached images guests of this node still need.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use sf_model::state::InstanceState;
use sf_protos::storage_local::TouchCacheRequest;
use sf_protos::storage_local::storage_local_client::StorageLocalClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::Cleaner;
use crate::error::Incomplete;
use crate::world::instances_here;

/// Blobs named in one call.
const BATCH: usize = 10_000;

/// Refreshes the use time of the images below the disks of instances here. Deleted instances need nothing.
pub(crate) async fn pass(cleaner: Arc<Cleaner>) -> Result<(), Incomplete> {
    let instances = instances_here(&cleaner, |_| ()).await?;
    let live = |state: &str| state != InstanceState::Deleted.as_str();
    let blobs: BTreeSet<String> = instances
        .into_iter()
        .filter(|instance| instance.state.as_ref().is_some_and(|state| live(&state.state)))
        .flat_map(|instance| instance.disks)
        .filter_map(|disk| disk.blob_uuid)
        .collect();
    if blobs.is_empty() {
        return Ok(());
    }
    let blobs: Vec<String> = blobs.into_iter().collect();
    let mut storage = connect(cleaner.context.config.run_path.join("transfers/storage.sock")).await?;
    for batch in blobs.chunks(BATCH) {
        let request = TouchCacheRequest { blob_uuids: batch.to_vec() };
        storage.touch_cache(request).await.map_err(|status| Incomplete::Storage(status.to_string()))?;
    }
    Ok(())
}

async fn connect(socket: PathBuf) -> Result<StorageLocalClient<Channel>, Incomplete> {
    // The address is only a name: the connector below decides where the bytes go.
    let endpoint = Endpoint::from_static("http://storage.local");
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    let channel = endpoint.connect_with_connector(connector).await;
    Ok(StorageLocalClient::new(channel.map_err(|error| Incomplete::Storage(error.to_string()))?))
}
