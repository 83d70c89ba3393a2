//! Messages of the netfilter interfaces: typed on the way out, plain attributes on the way in.
//!
//! The packet crate describes every attribute it reads in full for a possible error, which makes reading a set of a few
//! thousand elements take seconds. Answers about nftables are therefore kept as bytes and read where they are needed.

use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_netfilter::NetfilterMessage;

/// Number of the nftables subsystem, the upper byte of a message type.
pub const NFTABLES: u16 = 10;
/// Family, version and resource: what stands before the attributes.
const HEADER: usize = 4;

/// A netfilter message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NfMessage {
    /// A request, or an answer about anything but nftables.
    Typed(NetfilterMessage),
    /// An answer about nftables.
    Nftables {
        /// Kind within the subsystem.
        kind: u8,
        /// The attributes.
        attributes: Vec<u8>,
    },
}

impl From<NetfilterMessage> for NfMessage {
    fn from(message: NetfilterMessage) -> Self {
        Self::Typed(message)
    }
}

impl NetlinkDeserializable for NfMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type >> 8 != NFTABLES {
            return NetfilterMessage::deserialize(header, payload).map(Self::Typed);
        }
        let attributes =
            payload.get(HEADER..).ok_or_else(|| DecodeError::from("a message without header"))?.to_vec();
        Ok(Self::Nftables { kind: header.message_type.to_be_bytes()[1], attributes })
    }
}

impl NetlinkSerializable for NfMessage {
    fn message_type(&self) -> u16 {
        match self {
            Self::Typed(message) => NetlinkSerializable::message_type(message),
            Self::Nftables { kind, .. } => (NFTABLES << 8) | u16::from(*kind),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Typed(message) => NetlinkSerializable::buffer_len(message),
            Self::Nftables { attributes, .. } => HEADER + attributes.len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Typed(message) => message.serialize(buffer),
            Self::Nftables { attributes, .. } => {
                if let Some(room) = buffer.get_mut(HEADER..) {
                    room.copy_from_slice(attributes);
                }
            }
        }
    }
}

impl From<NfMessage> for NetlinkPayload<NfMessage> {
    fn from(message: NfMessage) -> Self {
        NetlinkPayload::InnerMessage(message)
    }
}

/// Kind and value of each attribute; what follows an ill-formed one is left out.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // The iterator lends out buffers over the same bytes; their values are cut out again to outlive them.
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let nla = NlasIterator::new(rest).next()?.ok()?;
        let (kind, length) = (nla.kind(), usize::from(nla.length()));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this kind.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A text attribute.
pub fn text(bytes: &[u8], wanted: u16) -> Option<String> {
    let value = attribute(bytes, wanted)?;
    Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned())
}

/// A four-byte number, big-endian.
pub fn number(bytes: &[u8], wanted: u16) -> Option<u32> {
    attribute(bytes, wanted)?.try_into().ok().map(u32::from_be_bytes)
}

/// An eight-byte number, big-endian.
pub fn long(bytes: &[u8], wanted: u16) -> Option<u64> {
    attribute(bytes, wanted)?.try_into().ok().map(u64::from_be_bytes)
}
