//! What is read from a document libvirt answers.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};
use sf_model::Secret;

/// Where a running domain's graphical console is.
#[derive(Debug)]
pub struct GraphicsEndpoint {
    /// `spice` or `vnc`.
    pub kind: String,
    /// Address it listens on.
    pub listen: String,
    /// Plain port.
    pub port: u16,
    /// TLS port, if there is one.
    pub tls_port: Option<u16>,
    /// Password of this boot, if there is one.
    pub ticket: Option<Secret<String>>,
}

/// The first graphical console of a domain document that was read with secrets.
pub fn graphics_endpoint(document: &str) -> Option<GraphicsEndpoint> {
    let element = find(document, "graphics")?;
    let port = |name: &str| get(&element, name)?.parse::<u16>().ok();
    Some(GraphicsEndpoint {
        kind: get(&element, "type")?,
        listen: get(&element, "listen").unwrap_or_default(),
        port: port("port")?,
        tls_port: port("tlsPort"),
        ticket: get(&element, "passwd").filter(|ticket| !ticket.is_empty()).map(Secret::new),
    })
}

/// The versioned machine libvirt chose.
pub fn machine_version(document: &str) -> Option<String> {
    let mut reader = Reader::from_str(document);
    let mut inside_os = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) if element.local_name().as_ref() == "os" => inside_os = true,
            Event::Start(element) if inside_os && element.local_name().as_ref() == "type" => {
                return get(&element.into_owned(), "machine");
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The document without passwords, fit for events. Empty if it is not readable: better nothing than a leak.
pub fn without_secrets(document: &str) -> String {
    let mut reader = Reader::from_str(document);
    let mut writer = Writer::new(Vec::new());
    loop {
        let event = match reader.read_event() {
            Ok(Event::Eof) => return String::from_utf8(writer.into_inner()).unwrap_or_default(),
            Ok(Event::Start(element)) => Event::Start(redact(&element)),
            Ok(Event::Empty(element)) => Event::Empty(redact(&element)),
            Ok(other) => other,
            Err(_) => return String::new(),
        };
        if writer.write_event(event).is_err() {
            return String::new();
        }
    }
}

fn redact(element: &BytesStart<'_>) -> BytesStart<'static> {
    let mut copy = BytesStart::new(element.name().as_ref().to_owned());
    for attribute in element.attributes().flatten() {
        if attribute.key.as_ref() != "passwd" {
            copy.push_attribute(attribute);
        }
    }
    copy
}

fn find(document: &str, name: &str) -> Option<BytesStart<'static>> {
    let mut reader = Reader::from_str(document);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == name => {
                return Some(element.into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

fn get(element: &BytesStart<'_>, name: &str) -> Option<String> {
    Some(element.try_get_attribute(name).ok()??.value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<domain type='qemu'><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>\
        <devices><graphics type='vnc' port='5901' autoport='no' listen='10.0.0.1' passwd='s3cret'>\
        <listen type='address' address='10.0.0.1'/></graphics></devices></domain>";

    #[test]
    fn a_viewer_learns_where_to_connect() {
        let endpoint = graphics_endpoint(DOCUMENT).unwrap();
        assert_eq!(
            (endpoint.kind.as_str(), endpoint.listen.as_str(), endpoint.port),
            ("vnc", "10.0.0.1", 5901)
        );
        assert_eq!(endpoint.ticket.unwrap().expose(), "s3cret");
        assert!(endpoint.tls_port.is_none());
        assert!(graphics_endpoint("<domain/>").is_none());
        assert_eq!(machine_version(DOCUMENT).as_deref(), Some("pc-i440fx-7.2"));
    }

    #[test]
    fn events_never_carry_the_ticket() {
        let shown = without_secrets(DOCUMENT);
        assert!(!shown.contains("s3cret") && shown.contains("10.0.0.1"), "{shown}");
        assert_eq!(without_secrets("<domain passwd='s3cret'"), "");
    }
}
