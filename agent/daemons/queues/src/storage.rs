//! The node's storage service, behind its unix socket.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use sf_protos::storage_local::storage_local_client::StorageLocalClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// A client of the storage service of this node; it connects when first used, and again after a loss.
pub(crate) fn connect(socket: PathBuf) -> StorageLocalClient<Channel> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is never resolved: the connector above decides where the bytes go.
    let channel = Endpoint::from_static("http://storage.invalid").connect_with_connector_lazy(connector);
    StorageLocalClient::new(channel)
}
