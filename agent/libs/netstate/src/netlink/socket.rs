//! A blocking netlink socket: dumps, single requests and batches, with the kernel's explanations kept.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};

use super::message::NfMessage;
use crate::error::{Family, KernelError, NetError};
use crate::nft::encode::{NftRequest, batch_begin, batch_end};

/// Receive buffer of every socket: a dump of a full bridge table fits.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer: an nft transaction is one message to the socket.
const SEND_BUFFER: usize = 16 << 20;
/// Most route messages in one send.
const BATCH: usize = 256;
/// How often an interrupted dump is repeated.
const DUMP_ATTEMPTS: usize = 3;
/// Bytes read at once. The kernel builds dumps in pieces of at most 32 KiB.
const CHUNK: usize = 64 << 10;

/// Socket for links, addresses, routes and neighbours.
pub type RouteSocket = NetlinkSocket<RouteNetlinkMessage>;
/// Socket for nftables and connection tracking.
pub type NftSocket = NetlinkSocket<NfMessage>;

/// A netlink socket of one protocol, bound to the namespace it was opened in.
pub struct NetlinkSocket<M> {
    fd: OwnedFd,
    sequence: u32,
    sent: u64,
    family: Family,
    messages: PhantomData<M>,
}

/// Opens a route (or netfilter) socket in the caller's namespace with every option set, ready to be handed over.
pub fn open_prepared(netfilter: bool) -> Result<OwnedFd, NetError> {
    let object = "netlink socket";
    let failed = |error| NetError::io(object, error);
    let protocol = if netfilter { NETLINK_NETFILTER } else { NETLINK_ROUTE };
    let mut socket = netlink_sys::Socket::new(protocol).map_err(failed)?;
    socket.bind_auto().map_err(failed)?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0)).map_err(failed)?;
    socket.set_ext_ack(true).map_err(failed)?;
    // Errors then carry the request's header only, not all of a large message.
    socket.set_cap_ack(true).map_err(failed)?;
    if !netfilter {
        socket.set_netlink_get_strict_chk(true).map_err(failed)?;
    }
    let fd = socket.as_fd().try_clone_to_owned().map_err(failed)?;
    setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).map_err(|error| NetError::io(object, error))?;
    setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).map_err(|error| NetError::io(object, error))?;
    Ok(fd)
}

impl RouteSocket {
    /// Opens a socket in the caller's namespace.
    pub fn open() -> Result<Self, NetError> {
        Ok(Self::from_fd(open_prepared(false)?))
    }

    /// Wraps a prepared socket, possibly opened in another namespace.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::wrap(fd, Family::Route)
    }

    /// Sends requests in batches, one acknowledgement each, and returns the outcome of each in order.
    pub fn batch(
        &mut self,
        requests: Vec<(RouteNetlinkMessage, u16, String)>,
    ) -> Result<Vec<Result<(), KernelError>>, NetError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        loop {
            let chunk: Vec<_> = requests.by_ref().take(BATCH).collect();
            if chunk.is_empty() {
                return Ok(outcomes);
            }
            let mut buffer = Vec::new();
            let mut pending = Vec::with_capacity(chunk.len());
            for (message, flags, object) in chunk {
                pending.push((self.append(&mut buffer, message, flags | NLM_F_ACK), object));
            }
            self.send(&buffer, "route batch")?;
            for (sequence, object) in pending {
                outcomes.push(self.acknowledgement(sequence, object)?);
            }
        }
    }

    /// Sends one change and waits for its acknowledgement.
    pub fn change(&mut self, message: RouteNetlinkMessage, flags: u16, object: &str) -> Result<(), NetError> {
        let outcomes = self.batch(vec![(message, flags, object.to_owned())])?;
        outcomes.into_iter().collect::<Result<(), _>>().map_err(NetError::from)
    }
}

impl NftSocket {
    /// Opens a socket in the caller's namespace.
    pub fn open() -> Result<Self, NetError> {
        Ok(Self::from_fd(open_prepared(true)?))
    }

    /// Wraps a prepared socket, possibly opened in another namespace.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::wrap(fd, Family::Nftables)
    }

    /// Applies all requests as one transaction, or none of them.
    ///
    /// # Errors
    /// The first refusal the kernel reports; nothing was applied then.
    pub fn transaction(&mut self, requests: Vec<NftRequest>) -> Result<(), NetError> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut buffer = Vec::new();
        let begin = self.append(&mut buffer, batch_begin().into(), 0);
        let mut objects = Vec::with_capacity(requests.len());
        let last = requests.len() - 1;
        for (index, request) in requests.into_iter().enumerate() {
            // Refusals are always reported; one acknowledgement at the end tells that all were read.
            let acknowledge = if index == last { NLM_F_ACK } else { 0 };
            let sequence = self.append(&mut buffer, request.message.into(), request.flags | acknowledge);
            objects.push((sequence, request.object));
        }
        self.append(&mut buffer, batch_end().into(), 0);
        self.sent += objects.len() as u64;
        self.send(&buffer, "nft transaction")?;
        let last = objects.last().map_or(begin, |(sequence, _)| *sequence);
        self.transaction_outcome(begin, last, &objects)
    }

    fn transaction_outcome(
        &mut self,
        begin: u32,
        last: u32,
        objects: &[(u32, String)],
    ) -> Result<(), NetError> {
        let mut first_error: Option<NetError> = None;
        loop {
            let mut finished = false;
            for message in self.receive("nft transaction")? {
                let sequence = message.header.sequence_number;
                let NetlinkPayload::Error(answer) = message.payload else { continue };
                let known = objects.iter().find(|(candidate, _)| *candidate == sequence);
                // The commit itself is reported against the opening message.
                if known.is_none() && sequence != begin {
                    continue;
                }
                finished |= sequence == last || sequence == begin;
                if let Some(code) = answer.code {
                    let object = known.map_or("the transaction", |(_, object)| object).to_owned();
                    let error = kernel_error(self.family, code.get(), &answer.header, object);
                    first_error.get_or_insert(error.into());
                }
            }
            if finished {
                return first_error.map_or(Ok(()), Err);
            }
        }
    }
}

impl<M> NetlinkSocket<M>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    fn wrap(fd: OwnedFd, family: Family) -> Self {
        Self { fd, sequence: 0, sent: 0, family, messages: PhantomData }
    }

    /// Changing messages sent so far: a render that changes nothing leaves it where it was.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Asks for a list; `flags` says how (usually `NLM_F_DUMP`). A list the kernel marks as interrupted is asked for again.
    pub fn dump(&mut self, request: M, flags: u16, object: &str) -> Result<Vec<M>, NetError>
    where
        M: Clone,
    {
        for _ in 0..DUMP_ATTEMPTS {
            let (replies, interrupted) = self.ask(request.clone(), flags, object)?;
            if !interrupted {
                return Ok(replies);
            }
        }
        Err(NetError::Decode {
            object: object.to_owned(),
            detail: "the list changed while it was read, three times".into(),
        })
    }

    /// Asks for one object; the answers before the acknowledgement are returned.
    pub fn request(&mut self, request: M, flags: u16, object: &str) -> Result<Vec<M>, NetError> {
        Ok(self.ask(request, flags | NLM_F_ACK, object)?.0)
    }

    fn ask(&mut self, request: M, flags: u16, object: &str) -> Result<(Vec<M>, bool), NetError> {
        let mut buffer = Vec::new();
        let sequence = self.append(&mut buffer, request, flags);
        self.send(&buffer, object)?;
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.receive(object)? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(reply) => replies.push(reply),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(kernel_error(self.family, done.code, &[], object.to_owned()).into());
                    }
                    NetlinkPayload::Done(_) => return Ok((replies, interrupted)),
                    NetlinkPayload::Error(answer) => {
                        return match answer.code {
                            None => Ok((replies, interrupted)),
                            Some(code) => {
                                Err(kernel_error(self.family, code.get(), &answer.header, object.to_owned())
                                    .into())
                            }
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    fn acknowledgement(
        &mut self,
        sequence: u32,
        object: String,
    ) -> Result<Result<(), KernelError>, NetError> {
        self.sent += 1;
        loop {
            // Acknowledgements come one per datagram and in order, so nothing that is read here belongs to a later one.
            for message in self.receive(&object)? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                if let NetlinkPayload::Error(answer) = message.payload {
                    return Ok(match answer.code {
                        None => Ok(()),
                        Some(code) => Err(kernel_error(self.family, code.get(), &answer.header, object)),
                    });
                }
            }
        }
    }

    fn append(&mut self, buffer: &mut Vec<u8>, message: M, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = buffer.len();
        let length = message.buffer_len();
        buffer.resize(start + length.next_multiple_of(4), 0);
        if let Some(room) = buffer.get_mut(start..start + length) {
            message.serialize(room);
        }
        self.sequence
    }

    fn send(&self, buffer: &[u8], object: &str) -> Result<(), NetError> {
        loop {
            match send(self.fd.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(NetError::io(object, error)),
            }
        }
    }

    fn receive(&self, object: &str) -> Result<Vec<NetlinkMessage<M>>, NetError> {
        let mut buffer = vec![0; CHUNK];
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(NetError::io(object, error)),
            }
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        let mut messages = Vec::new();
        while rest.len() >= 16 {
            let message = NetlinkMessage::<M>::deserialize(rest)
                .map_err(|error| NetError::Decode { object: object.to_owned(), detail: error.to_string() })?;
            let step = (message.header.length as usize).next_multiple_of(4).max(16);
            messages.push(message);
            rest = rest.get(step..).unwrap_or_default();
        }
        Ok(messages)
    }
}

fn kernel_error(family: Family, code: i32, answer: &[u8], object: String) -> KernelError {
    const HEADER: usize = 16;
    const MESSAGE: u16 = 1;
    let explanation = answer.get(HEADER..).unwrap_or_default();
    let extack = NlasIterator::new(explanation)
        .flatten()
        .find(|nla| nla.kind() == MESSAGE)
        .map(|nla| String::from_utf8_lossy(nla.value()).trim_end_matches('\0').to_owned())
        .unwrap_or_default();
    KernelError { family, errno: code.abs(), extack, object }
}
