//! What a table is: rules that depend only on the feature set, and set elements that depend on the members.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::expr::Expr;

/// Family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    /// Frames that pass a bridge.
    Bridge,
    /// IPv4 alone. None of ours; `iptables` and what is built on it write there.
    Ip,
}

/// A table: its rules and the shape of its sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Family.
    pub family: TableFamily,
    /// Name.
    pub name: &'static str,
    /// Sets and maps.
    pub sets: Vec<SetSpec>,
    /// Chains, in the order they are created: a chain that is jumped to stands before the jump.
    pub chains: Vec<ChainSpec>,
}

/// A set, or a map when it has data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSpec {
    /// Name.
    pub name: &'static str,
    /// Fields of the key.
    pub key: Vec<Field>,
    /// Fields of the mapped value; empty for a set.
    pub data: Vec<Field>,
    /// The elements are ranges.
    pub interval: bool,
    /// Elements may carry their own time to live.
    pub timeout: bool,
}

/// A field of a key. The numbers are those user space tools use to print it; the kernel only keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An Ethernet address.
    Ether,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// An interface name.
    IfName,
}

impl Field {
    /// Type number of the `nft` tool (`enum datatypes`).
    pub fn type_id(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ether => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::IfName => 41,
        }
    }

    /// Bytes of the field in a concatenation: whole registers of four.
    pub fn padded_width(self) -> u32 {
        match self {
            Self::Ipv4 | Self::Protocol | Self::Port => 4,
            Self::Ether => 8,
            Self::IfName => 16,
        }
    }

    /// Bytes of the field alone.
    pub fn width(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ether => 6,
            Self::Protocol => 1,
            Self::Port => 2,
            Self::IfName => 16,
        }
    }
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSpec {
    /// Name.
    pub name: &'static str,
    /// Where the kernel calls it; `None` for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Rules in order.
    pub rules: Vec<RuleSpec>,
}

/// The hook of a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// Hook number of the family.
    pub hook: u32,
    /// Priority; lower runs first.
    pub priority: i32,
    /// Whether packets no rule decides about are dropped.
    pub drop: bool,
}

/// Hook numbers, the same in both families.
pub mod hook {
    /// Before routing (or before the bridge's decision).
    pub const PREROUTING: u32 = 0;
    /// To the host itself.
    pub const INPUT: u32 = 1;
    /// Through the host.
    pub const FORWARD: u32 = 2;
    /// After routing.
    pub const POSTROUTING: u32 = 4;
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// Name within the table, kept by the kernel as the rule's comment.
    pub label: &'static str,
    /// Expressions in order.
    pub exprs: Vec<Expr>,
}

impl RuleSpec {
    /// The comment stored with the rule: its label and a digest of its expressions, so that a changed rule is seen.
    pub fn comment(&self) -> String {
        format!("{}:{}", self.label, short_digest(&format!("{:?}", self.exprs)))
    }
}

/// Key of an element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementKey {
    /// The fields, padded.
    pub bytes: Vec<u8>,
    /// The key is the first value after a range.
    pub range_end: bool,
}

/// An element beside its key.
#[derive(Debug, Clone, Default)]
pub struct Element {
    /// The mapped value; empty in a set.
    pub data: Vec<u8>,
    /// Owner of the element in a set that several networks share; empty in sets of one owner.
    pub tag: Vec<u8>,
    /// Remaining time to live in milliseconds; 0 for ever. Runs down in the kernel, so it takes no part in comparison.
    pub timeout_ms: u64,
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.tag == other.tag
    }
}

impl Eq for Element {}

/// Elements of all sets of a table, by set name.
pub type Elements = BTreeMap<String, BTreeMap<ElementKey, Element>>;

/// The rules of a table as far as they can be compared with what the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Version kept in the table's comment.
    pub version: String,
    /// Rule comments by chain, and whether the chain drops by default.
    pub chains: BTreeMap<String, (bool, Vec<String>)>,
    /// Names of the sets.
    pub sets: Vec<String>,
}

/// A table as state: comparable rules and elements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableState {
    /// The rules.
    pub fingerprint: Fingerprint,
    /// The members. Every set of the table has an entry.
    pub elements: Elements,
}

impl TableSpec {
    /// The version: a digest over everything but the elements.
    pub fn version(&self) -> String {
        format!("sf-{}", short_digest(&format!("{self:?}")))
    }

    /// What [`Fingerprint`] the kernel shows when it holds this table.
    pub fn fingerprint(&self) -> Fingerprint {
        let chains = self.chains.iter().map(|chain| {
            let drop = chain.base.as_ref().is_some_and(|base| base.drop);
            (chain.name.to_owned(), (drop, chain.rules.iter().map(RuleSpec::comment).collect()))
        });
        let mut sets: Vec<String> = self.sets.iter().map(|set| set.name.to_owned()).collect();
        sets.sort();
        Fingerprint { version: self.version(), chains: chains.collect(), sets }
    }

    /// The table with these elements; sets not mentioned are empty.
    pub fn state(&self, mut elements: Elements) -> TableState {
        for set in &self.sets {
            elements.entry(set.name.to_owned()).or_default();
        }
        TableState { fingerprint: self.fingerprint(), elements }
    }

    /// The set of this name.
    pub fn set(&self, name: &str) -> Option<&SetSpec> {
        self.sets.iter().find(|set| set.name == name)
    }
}

fn short_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
