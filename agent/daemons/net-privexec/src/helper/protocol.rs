//! Requests of a fixed size and replies of a status and names. No parsing beyond that.

use std::net::Ipv4Addr;

use uuid::Uuid;

/// Bytes of a request: verb, kind, two spare, interface index, address, interface name, UUID.
const REQUEST: usize = 44;
/// Names one reply can hold.
const MAX_NAMES: usize = 4_096;
/// Bytes of the longest reply.
pub(crate) const MAX_REPLY: usize = 4 + MAX_NAMES * 16;

/// What the helper can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Create the namespace.
    Create(Uuid),
    /// Delete it.
    Delete(Uuid),
    /// Names of all namespaces.
    List,
    /// Open a socket inside it.
    Open(Uuid, OpenKind),
}

/// Kinds of sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenKind {
    /// Links, addresses, routes.
    Route,
    /// Rules.
    Netfilter,
    /// DHCP server on an interface.
    Udp67(String),
    /// DNS server on an address.
    Udp53(Ipv4Addr),
    /// DNS server on an address, streams.
    Tcp53(Ipv4Addr),
    /// Sends whole frames on an interface.
    Packet(u32),
    /// Echo requests.
    Icmp,
    /// Datagrams outwards.
    UdpClient,
    /// Streams outwards.
    TcpClient,
}

impl Request {
    /// The bytes of the request.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::default();
        match self {
            Self::Create(uuid) => (fields.verb, fields.uuid) = (1, *uuid),
            Self::Delete(uuid) => (fields.verb, fields.uuid) = (2, *uuid),
            Self::List => fields.verb = 3,
            Self::Open(uuid, kind) => {
                (fields.verb, fields.uuid) = (4, *uuid);
                fields.open(kind);
            }
        }
        fields.encode()
    }

    /// Reads a request; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::decode(bytes)?;
        match fields.verb {
            1 => Some(Self::Create(fields.uuid)),
            2 => Some(Self::Delete(fields.uuid)),
            3 => Some(Self::List),
            4 => Some(Self::Open(fields.uuid, fields.kind()?)),
            _ => None,
        }
    }

    /// The request for error messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Create(uuid) => format!("creating namespace {uuid}"),
            Self::Delete(uuid) => format!("deleting namespace {uuid}"),
            Self::List => "listing namespaces".into(),
            Self::Open(uuid, kind) => format!("opening {kind:?} in namespace {uuid}"),
        }
    }
}

#[derive(Default)]
struct Fields {
    verb: u8,
    kind: u8,
    index: u32,
    address: [u8; 4],
    name: String,
    uuid: Uuid,
}

impl Fields {
    fn open(&mut self, kind: &OpenKind) {
        match kind {
            OpenKind::Route => self.kind = 1,
            OpenKind::Netfilter => self.kind = 2,
            OpenKind::Udp67(name) => (self.kind, self.name) = (3, name.clone()),
            OpenKind::Udp53(address) => (self.kind, self.address) = (4, address.octets()),
            OpenKind::Tcp53(address) => (self.kind, self.address) = (5, address.octets()),
            OpenKind::Packet(index) => (self.kind, self.index) = (6, *index),
            OpenKind::Icmp => self.kind = 7,
            OpenKind::UdpClient => self.kind = 8,
            OpenKind::TcpClient => self.kind = 9,
        }
    }

    fn kind(&self) -> Option<OpenKind> {
        Some(match self.kind {
            1 => OpenKind::Route,
            2 => OpenKind::Netfilter,
            3 => OpenKind::Udp67(self.name.clone()),
            4 => OpenKind::Udp53(self.address.into()),
            5 => OpenKind::Tcp53(self.address.into()),
            6 => OpenKind::Packet(self.index),
            7 => OpenKind::Icmp,
            8 => OpenKind::UdpClient,
            9 => OpenKind::TcpClient,
            _ => return None,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.verb, self.kind, 0, 0];
        bytes.extend(self.index.to_ne_bytes());
        bytes.extend(self.address);
        let mut name: Vec<u8> = self.name.bytes().take(15).collect();
        name.resize(16, 0);
        bytes.extend(name);
        bytes.extend(self.uuid.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; REQUEST] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (address, rest) = rest.split_first_chunk::<4>()?;
        let (name, uuid) = rest.split_first_chunk::<16>()?;
        let [verb, kind, 0, 0] = *head else { return None };
        let end = name.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8(name.get(..end)?.to_vec()).ok()?;
        let uuid = Uuid::from_slice(uuid).ok()?;
        Some(Self { verb, kind, index: u32::from_ne_bytes(*index), address: *address, name, uuid })
    }
}

/// The helper's answer; a descriptor may travel beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0, or why not.
    pub(crate) errno: i32,
    /// Answer to a list.
    pub(crate) names: Vec<Uuid>,
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.errno.to_ne_bytes().to_vec();
        bytes.extend(self.names.iter().take(MAX_NAMES).flat_map(|name| *name.as_bytes()));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (errno, names) = bytes.split_first_chunk::<4>()?;
        let names = names.chunks_exact(16).filter_map(|chunk| Uuid::from_slice(chunk).ok()).collect();
        Some(Self { errno: i32::from_ne_bytes(*errno), names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip_in_a_fixed_size() {
        let uuid = Uuid::new_v4();
        let kinds = [
            OpenKind::Route,
            OpenKind::Netfilter,
            OpenKind::Udp67("veth-00000a-i".into()),
            OpenKind::Udp53(Ipv4Addr::new(10, 0, 0, 1)),
            OpenKind::Tcp53(Ipv4Addr::new(10, 0, 0, 1)),
            OpenKind::Packet(7),
            OpenKind::Icmp,
            OpenKind::UdpClient,
            OpenKind::TcpClient,
        ];
        let mut requests = vec![Request::Create(uuid), Request::Delete(uuid), Request::List];
        requests.extend(kinds.map(|kind| Request::Open(uuid, kind)));
        for request in requests {
            let bytes = request.encode();
            assert_eq!(bytes.len(), REQUEST);
            assert_eq!(Request::decode(&bytes), Some(request));
        }
    }

    #[test]
    fn anything_else_is_no_request() {
        for bytes in [vec![], vec![0; REQUEST], vec![4; REQUEST], vec![1; 7], vec![1; 60]] {
            assert_eq!(Request::decode(&bytes), None);
        }
        let reply = Reply { errno: 17, names: vec![Uuid::new_v4(), Uuid::new_v4()] };
        assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        assert_eq!(Reply::decode(&[1]), None);
    }
}
