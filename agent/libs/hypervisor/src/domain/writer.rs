//! A thin layer over the XML writer that makes nesting readable. Escaping is the writer's.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// A document could not be written to memory.
#[derive(Debug, thiserror::Error)]
#[error("domain definition could not be rendered: {0}")]
pub struct XmlError(#[from] io::Error);

/// An XML document under construction.
pub(super) struct Xml(Writer<Vec<u8>>);

/// Attributes of an element, in order.
pub(super) type Attributes<'a> = [(&'a str, &'a str)];

impl Xml {
    pub(super) fn new() -> Self {
        Self(Writer::new_with_indent(Vec::new(), b' ', 2))
    }

    /// An element with children.
    pub(super) fn element(
        &mut self,
        name: &str,
        attributes: &Attributes<'_>,
        children: impl FnOnce(&mut Self) -> Result<(), XmlError>,
    ) -> Result<(), XmlError> {
        self.0.write_event(Event::Start(start(name, attributes)))?;
        children(self)?;
        Ok(self.0.write_event(Event::End(BytesEnd::new(name)))?)
    }

    /// An element without content.
    pub(super) fn empty(&mut self, name: &str, attributes: &Attributes<'_>) -> Result<(), XmlError> {
        Ok(self.0.write_event(Event::Empty(start(name, attributes)))?)
    }

    /// An element with text.
    pub(super) fn text(
        &mut self,
        name: &str,
        attributes: &Attributes<'_>,
        text: &str,
    ) -> Result<(), XmlError> {
        self.0.write_event(Event::Start(start(name, attributes)))?;
        self.0.write_event(Event::Text(BytesText::new(text)))?;
        Ok(self.0.write_event(Event::End(BytesEnd::new(name)))?)
    }

    pub(super) fn finish(self) -> Result<String, XmlError> {
        String::from_utf8(self.0.into_inner()).map_err(|error| XmlError(io::Error::other(error)))
    }
}

fn start<'a>(name: &'a str, attributes: &Attributes<'a>) -> BytesStart<'a> {
    BytesStart::new(name).with_attributes(attributes.iter().copied())
}
