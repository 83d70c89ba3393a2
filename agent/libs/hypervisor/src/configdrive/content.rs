//! The files of the drive, in the layout OpenStack's guests know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ConfigDriveInterface, ConfigDriveSpec};

/// Name of the network description.
pub const NETWORK_DATA_FILE: &str = "network_data.json";
/// Name of the user data.
pub const USER_DATA_FILE: &str = "user_data";

/// Stands for absent user data: cloud-init reports an empty file as a schema error.
const EMPTY_USER_DATA: &[u8] = b"#cloud-config\n";

/// Every file of one version directory, by name.
pub(super) fn files(spec: &ConfigDriveSpec) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("meta_data.json", meta_data(spec).to_string().into_bytes()),
        (NETWORK_DATA_FILE, network_data(spec).to_string().into_bytes()),
        (USER_DATA_FILE, spec.user_data.clone().unwrap_or_else(|| EMPTY_USER_DATA.to_vec())),
        ("vendor_data.json", b"{}".to_vec()),
        ("vendor_data2.json", b"{}".to_vec()),
    ]
}

fn meta_data(spec: &ConfigDriveSpec) -> Value {
    let keys = match &spec.ssh_key {
        Some(key) => json!({ "mykey": key }),
        None => json!({}),
    };
    json!({
        "random_seed": STANDARD.encode(&spec.random_seed),
        "uuid": spec.instance.to_string(),
        "availability_zone": spec.zone,
        "hostname": format!("{}.local", spec.name),
        "launch_index": 0,
        "devices": [],
        "project_id": null,
        "name": spec.name,
        "public_keys": keys,
    })
}

fn network_data(spec: &ConfigDriveSpec) -> Value {
    let mut interfaces: Vec<&ConfigDriveInterface> = spec.interfaces.iter().collect();
    interfaces.sort_by_key(|interface| interface.order);
    let links: Vec<Value> = interfaces.iter().map(|interface| link(interface)).collect();
    let networks: Vec<Value> =
        interfaces.iter().enumerate().map(|(index, interface)| network(interface, index == 0)).collect();
    json!({ "links": links, "networks": networks, "services": services(spec, &interfaces) })
}

fn link(interface: &ConfigDriveInterface) -> Value {
    let name = format!("eth{}", interface.order);
    json!({
        "ethernet_mac_address": interface.mac.to_string(),
        "id": name,
        "name": name,
        "mtu": interface.mtu,
        "type": "vif",
        "vif_id": interface.interface.to_string(),
    })
}

fn network(interface: &ConfigDriveInterface, carries_default_route: bool) -> Value {
    let mut entry = json!({
        "id": format!("{}-{}", interface.network, interface.order),
        "link": format!("eth{}", interface.order),
        "type": "ipv4",
        "network_id": interface.network.to_string(),
        "ip_address": interface.address.to_string(),
        "netmask": interface.netmask.to_string(),
    });
    if let (true, Some(gateway), Value::Object(fields)) =
        (carries_default_route, interface.gateway, &mut entry)
    {
        let route = json!([{ "network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": gateway.to_string() }]);
        fields.insert("routes".to_owned(), route);
    }
    entry
}

fn services(spec: &ConfigDriveSpec, interfaces: &[&ConfigDriveInterface]) -> Vec<Value> {
    let search = format!("{}.{}", spec.namespace, spec.zone);
    let mut seen = Vec::new();
    for address in interfaces.iter().filter_map(|interface| interface.dns) {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    if seen.is_empty() {
        return spec.dns_servers.iter().map(|a| json!({ "type": "dns", "address": a.to_string() })).collect();
    }
    seen.iter().map(|a| json!({ "type": "dns", "address": a.to_string(), "search": [search] })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::{InstanceId, InterfaceId, MacAddress, NetworkId};
    use std::net::Ipv4Addr;

    fn interface(order: u32, gateway: bool, dns: bool) -> ConfigDriveInterface {
        let host = Ipv4Addr::new(10, 0, u8::try_from(order).unwrap(), 1);
        ConfigDriveInterface {
            interface: InterfaceId::random(),
            network: NetworkId::random(),
            order,
            mac: MacAddress::new([2, 0, 0, 0, 0, 9]),
            mtu: 1450,
            address: Ipv4Addr::new(10, 0, 0, 5),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: gateway.then_some(host),
            dns: dns.then_some(host),
        }
    }

    fn spec(interfaces: Vec<ConfigDriveInterface>) -> ConfigDriveSpec {
        ConfigDriveSpec {
            instance: InstanceId::random(),
            name: "box".into(),
            namespace: "team".into(),
            zone: "cloud".into(),
            ssh_key: None,
            user_data: None,
            random_seed: vec![7; 512],
            interfaces,
            dns_servers: vec!["8.8.8.8".parse().unwrap()],
        }
    }

    #[test]
    fn without_a_key_none_is_offered_and_user_data_is_a_valid_document() {
        let spec = spec(vec![]);
        let meta = meta_data(&spec);
        assert_eq!(meta["public_keys"], json!({}));
        assert_eq!(meta["hostname"], "box.local");
        assert_eq!(STANDARD.decode(meta["random_seed"].as_str().unwrap()).unwrap().len(), 512);
        let files = files(&spec);
        assert_eq!(files.iter().find(|f| f.0 == USER_DATA_FILE).unwrap().1, b"#cloud-config\n");
    }

    #[test]
    fn only_the_first_interface_in_order_carries_the_default_route() {
        let data = network_data(&spec(vec![interface(1, true, false), interface(0, true, false)]));
        assert_eq!(data["links"][0]["id"], "eth0");
        assert!(data["networks"][0]["routes"].is_array());
        assert!(data["networks"][1].get("routes").is_none());
        assert_eq!(data["services"], json!([{ "type": "dns", "address": "8.8.8.8" }]));
    }

    #[test]
    fn a_network_that_serves_dns_replaces_the_clouds_resolvers() {
        let data = network_data(&spec(vec![interface(0, true, true), interface(1, false, false)]));
        assert_eq!(
            data["services"],
            json!([{ "type": "dns", "address": "10.0.0.1", "search": ["team.cloud"] }])
        );
    }
}
