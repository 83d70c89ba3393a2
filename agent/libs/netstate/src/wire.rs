//! Frames between `sf-net` and the privileged worker: a length, a protobuf message, and descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use sf_protos::net_privexec::{Failure, Request, Response, request, response};

/// Largest frame.
pub const MAX_FRAME: usize = 16 << 20;
/// Most descriptors beside one frame.
pub const MAX_DESCRIPTORS: usize = 16;

/// Sends one message with descriptors.
pub fn send<M: Message>(socket: impl AsFd, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME);
    let Some(length) = length else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"));
    };
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors for one frame"));
    }
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(socket.as_fd(), &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)
        })?;
        // Descriptors travel with the first bytes only.
        control.clear();
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Receives one message; `None` when the other side closed between frames.
pub fn receive<M: Message + Default>(socket: impl AsFd) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut descriptors = Vec::new();
    let mut head = [0; 4];
    if !fill(&socket, &mut head, &mut descriptors)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"));
    }
    let mut body = vec![0; length];
    if length > 0 && !fill(&socket, &mut body, &mut descriptors)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message =
        M::decode(body.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, descriptors)))
}

fn fill(socket: &impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut *room)];
            match recvmsg(socket.as_fd(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => break outcome?.bytes,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        match received {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(true)
}

/// Errors of a call to the privileged worker.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The worker could not be reached or did not answer; the call may be repeated.
    #[error("the privileged network worker at {path} does not answer: {source}")]
    Unavailable {
        /// Its socket.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The worker refused, with its reason as data.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Failure),
}

impl CallError {
    /// The stable code of the network error list.
    pub fn code(&self) -> &str {
        match self {
            Self::Unavailable { .. } => "privexec.unavailable",
            Self::Refused(failure) => &failure.code,
        }
    }
}

/// Client of the privileged worker. Calls block: use a blocking thread.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
    timeout: Duration,
}

impl Client {
    /// A client of the worker behind `path`; a call that takes longer than `timeout` fails.
    pub fn new(path: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self { path: path.into(), timeout }
    }

    /// Makes one call over a connection of its own; a worker that was restarted meanwhile is no special case then.
    pub fn call(
        &self,
        request_id: &str,
        call: request::Call,
    ) -> Result<(response::Outcome, Vec<OwnedFd>), CallError> {
        let unavailable = |source| CallError::Unavailable { path: self.path.display().to_string(), source };
        let request = Request { request_id: request_id.to_owned(), call: Some(call) };
        let (reply, descriptors) = self.exchange(&request).map_err(unavailable)?;
        match reply.outcome {
            Some(response::Outcome::Failure(failure)) => Err(CallError::Refused(failure)),
            Some(outcome) => Ok((outcome, descriptors)),
            None => Err(unavailable(io::Error::new(io::ErrorKind::InvalidData, "an empty answer"))),
        }
    }

    fn exchange(&self, request: &Request) -> io::Result<(Response, Vec<OwnedFd>)> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        send(&stream, request, &[])?;
        receive(&stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_together() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let message = Request { request_id: "r".repeat(200_000), call: None };
        let sender = std::thread::spawn({
            let message = message.clone();
            move || send(&left, &message, &[writer.as_fd()]).unwrap()
        });
        let (received, mut descriptors): (Request, _) = receive(&right).unwrap().unwrap();
        sender.join().unwrap();
        assert_eq!(received, message);
        let mut writer = UnixStream::from(descriptors.remove(0));
        writer.write_all(b"x").unwrap();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(receive::<Request>(&right).unwrap().is_none());
    }

    #[test]
    fn bad_frames_are_refused() {
        for bytes in [&[0xff, 0, 0, 0][..], &[0, 0, 0, 9, 1], &[0, 0, 0, 2, 0xff, 0xff], &[0, 0]] {
            let (mut left, right) = UnixStream::pair().unwrap();
            left.write_all(bytes).unwrap();
            drop(left);
            assert!(receive::<Request>(&right).is_err(), "{bytes:?}");
        }
    }
}
