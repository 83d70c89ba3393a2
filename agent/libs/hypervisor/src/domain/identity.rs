//! How a domain is recognised as ours.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use sf_model::{ClusterId, InstanceId};
use uuid::Uuid;

use super::writer::{Xml, XmlError};

/// Namespace of our metadata element. A URN-like constant that guests and tools may match on; nothing is served there.
pub const METADATA_NAMESPACE: &str = "https://shakenfist.com/xmlns/libvirt/1";

/// Our metadata of a domain. A domain without it, or with another cluster's, is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainIdentity {
    /// Cluster that owns the domain.
    pub cluster: ClusterId,
    /// Instance it is.
    pub instance: InstanceId,
    /// Placement it was made for; an older one marks a stale copy.
    pub placement: u32,
    /// Life of one QEMU process.
    pub boot: Uuid,
    /// Hash of the definition, empty while it is being computed.
    pub spec: String,
    /// Version of the agent that wrote it.
    pub agent: String,
}

/// The domain name of an instance.
pub fn domain_name(instance: InstanceId) -> String {
    format!("sf:{instance}")
}

/// Reads our metadata element, either alone or inside a domain document. `None`: absent or not readable.
pub fn parse_identity(xml: &str) -> Option<DomainIdentity> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == "instance" => {
                if let Some(identity) = from_element(&element) {
                    return Some(identity);
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl DomainIdentity {
    pub(super) fn write(&self, xml: &mut Xml, spec: &str) -> Result<(), XmlError> {
        let instance = self.instance.to_string();
        xml.text("name", &[], &domain_name(self.instance))?;
        xml.text("uuid", &[], &instance)?;
        xml.element("metadata", &[], |xml| {
            let attributes = [
                ("xmlns:sf", METADATA_NAMESPACE),
                ("cluster", &self.cluster.to_string()),
                ("instance", &instance),
                ("placement", &self.placement.to_string()),
                ("boot", &self.boot.to_string()),
                ("spec", spec),
                ("agent", &self.agent),
            ];
            xml.empty("sf:instance", &attributes)
        })
    }
}

fn from_element(element: &BytesStart<'_>) -> Option<DomainIdentity> {
    // Every value is a uuid, a number, a hash or a version: nothing in them is ever escaped.
    let get = |name: &str| Some(element.try_get_attribute(name).ok()??.value.into_owned());
    Some(DomainIdentity {
        cluster: get("cluster")?.parse().ok()?,
        instance: get("instance")?.parse().ok()?,
        placement: get("placement")?.parse().ok()?,
        boot: get("boot")?.parse().ok()?,
        spec: get("spec")?,
        agent: get("agent")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_writing_and_reading() {
        let identity = DomainIdentity {
            cluster: ClusterId::random(),
            instance: InstanceId::random(),
            placement: 3,
            boot: Uuid::new_v4(),
            spec: "abc".into(),
            agent: "0.1.0".into(),
        };
        let mut xml = Xml::new();
        xml.element("domain", &[], |xml| identity.write(xml, "abc")).unwrap();
        assert_eq!(parse_identity(&xml.finish().unwrap()), Some(identity));
        assert_eq!(parse_identity("<domain><metadata><instance cluster='x'/></metadata></domain>"), None);
        assert_eq!(parse_identity("<domain"), None);
    }
}
