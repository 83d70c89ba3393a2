//! Frames: a 32-bit big-endian length, then one protobuf message. Descriptors travel with the first byte.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use prost::Message;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::fds::own;

/// Largest message in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// Most descriptors beside one frame.
pub const MAX_DESCRIPTORS: usize = 16;

/// Sends one message with descriptors.
///
/// # Errors
/// `InvalidInput` if the message or the number of descriptors is beyond its limit; else what the kernel says.
pub async fn send(
    stream: &UnixStream,
    message: &impl Message,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let length = message.encoded_len();
    if length > MAX_FRAME || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "frame is too large"));
    }
    let mut bytes = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes().to_vec();
    message.encode(&mut bytes).map_err(io::Error::other)?;
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut rest = bytes.as_slice();
    let mut rights = if raw.is_empty() { Vec::new() } else { vec![ControlMessage::ScmRights(&raw)] };
    while !rest.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let iov = [IoSlice::new(rest)];
                Ok(sendmsg::<()>(stream.as_raw_fd(), &iov, &rights, MsgFlags::MSG_NOSIGNAL, None)?)
            })
            .await?;
        rights.clear();
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Receives one message with its descriptors. `None`: the other side closed between frames.
///
/// # Errors
/// `InvalidData` for an oversized or undecodable frame, `UnexpectedEof` inside one; else what the kernel says.
pub async fn receive<M: Message + Default>(stream: &UnixStream) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut descriptors = Vec::new();
    let mut header = [0u8; 4];
    if !fill(stream, &mut header, &mut descriptors).await? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(header)).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame is too large"));
    }
    let mut body = vec![0u8; length];
    if length > 0 && !fill(stream, &mut body, &mut descriptors).await? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message =
        M::decode(body.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, descriptors)))
}

/// Fills the buffer. False: the stream ended before its first byte.
async fn fill(stream: &UnixStream, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let (read, received) = stream.async_io(Interest::READABLE, || receive_some(stream, rest)).await?;
        descriptors.extend(own(received));
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
        }
        match (read, filled) {
            (0, 0) => return Ok(false),
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => filled += read,
        }
    }
    Ok(true)
}

fn receive_some(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<RawFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut iov = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    // A truncated control message means more descriptors than any frame may carry.
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            received.extend(descriptors);
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_protos::privexec::{QemuLogTail, ReadConsole, Request, request::Operation};
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use tokio::io::AsyncWriteExt;

    fn request(text: &str) -> Request {
        let operation = Operation::ReadConsole(ReadConsole { instance_uuid: text.into() });
        Request { request_id: "r".into(), operation: Some(operation) }
    }

    #[tokio::test]
    async fn messages_and_descriptors_arrive_together() {
        let (one, two) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        file.rewind().unwrap();
        let big = request(&"x".repeat(60_000));
        let sender = async {
            send(&one, &big, &[file.as_fd()]).await.unwrap();
            send(&one, &Request::default(), &[]).await.unwrap();
            drop(one);
        };
        let receiver = async {
            let (message, mut descriptors) = receive::<Request>(&two).await.unwrap().unwrap();
            assert_eq!(message, big);
            let mut text = String::new();
            std::fs::File::from(descriptors.remove(0)).read_to_string(&mut text).unwrap();
            assert_eq!(text, "content");
            assert_eq!(receive::<Request>(&two).await.unwrap().unwrap().0, Request::default());
            assert!(receive::<Request>(&two).await.unwrap().is_none());
        };
        tokio::join!(sender, receiver);
    }

    #[tokio::test]
    async fn oversized_and_broken_frames_are_refused() {
        let (mut one, two) = UnixStream::pair().unwrap();
        let error = send(&one, &request(&"x".repeat(70_000)), &[]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        one.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert_eq!(receive::<Request>(&two).await.unwrap_err().kind(), io::ErrorKind::InvalidData);

        for bytes in [&[0u8, 0, 0, 2, 0xff, 0xff][..], &[0, 0, 0, 9, 1], &[0, 0]] {
            let (mut one, two) = UnixStream::pair().unwrap();
            one.write_all(bytes).await.unwrap();
            drop(one);
            assert!(receive::<QemuLogTail>(&two).await.is_err(), "{bytes:?}");
        }
    }
}
