//! A server that says exactly what a test wants it to say, byte by byte.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    lines: Vec<String>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.lines.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// First byte of a `Range: bytes=N-` header.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// The server. It ends with the test's runtime.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Head>>>,
}

impl Origin {
    /// Starts a server that hands every request (with its number, from 0) and its connection to `handle`. The
    /// connection is closed when the handler ends.
    pub(crate) async fn start<F, R>(handle: F) -> Self
    where
        F: Fn(usize, Head, TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Head>>> = Arc::default();
        let log = Arc::clone(&seen);
        let handle = Arc::new(handle);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, handle) = (Arc::clone(&log), Arc::clone(&handle));
                tokio::spawn(async move {
                    let Some(head) = read_head(&mut stream).await else { return };
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(head.clone());
                        log.len() - 1
                    };
                    handle(number, head, stream).await;
                });
            }
        });
        Self { address, seen }
    }

    /// A server that gives everyone the same answer.
    pub(crate) async fn saying(answer: Vec<u8>) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |_, _, mut stream| {
            let answer = Arc::clone(&answer);
            async move { say(&mut stream, &answer).await }
        })
        .await
    }

    pub(crate) fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = text.lines();
    lines.next()?;
    Some(Head { lines: lines.map(str::to_owned).collect() })
}

/// Writes what a client may not stay to read.
pub(crate) async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    // Reading to the end lets the client take everything before the connection is reset.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

/// A complete answer.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A part of a file, as an answer to a range.
pub(crate) fn part(file: &[u8], start: usize, headers: &str) -> Vec<u8> {
    let range = format!("Content-Range: bytes {start}-{}/{}\r\n{headers}", file.len() - 1, file.len());
    answer("206 Partial Content", &range, &file[start..])
}
