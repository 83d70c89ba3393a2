//! Interfaces (`rest-api.md` §2.3).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::networks::Interface;

use super::{metadata, state};

/// A network interface.
#[derive(Debug, Serialize)]
pub struct InterfaceView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    network_uuid: String,
    instance_uuid: String,
    macaddr: String,
    ipv4: Option<String>,
    order: u32,
    model: String,
    floating: Option<String>,
}

impl From<Interface> for InterfaceView {
    fn from(interface: Interface) -> Self {
        Self {
            uuid: interface.uuid,
            state: state(interface.state.as_ref()),
            metadata: metadata(&interface.metadata),
            version: interface.version,
            network_uuid: interface.network_uuid,
            instance_uuid: interface.instance_uuid,
            macaddr: interface.macaddr,
            ipv4: interface.ipv4,
            order: interface.order,
            model: interface.model,
            floating: interface.floating,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_interface_looks_like_this() {
        insta::assert_json_snapshot!(InterfaceView::from(samples::interface()));
    }
}
