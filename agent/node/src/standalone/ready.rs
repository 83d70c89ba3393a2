//! Asking the API whether it is ready, as a load balancer does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: standalone\r\nConnection: close\r\n\r\n";
const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(2);

/// Resolves when the API answers that it is ready.
pub(super) async fn until_ready(address: SocketAddr) {
    while !matches!(tokio::time::timeout(LIMIT, is_ready(address)).await, Ok(Ok(true))) {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.ends_with(b" 200"))
}
