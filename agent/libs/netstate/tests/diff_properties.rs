//! Properties of the planner: it reaches its goal, does nothing without need, and every prefix of it is safe.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and a skipped test says so"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use sf_model::MacAddress;
use sf_netstate::change::Change;
use sf_netstate::diff::diff;
use sf_netstate::model::{
    BridgeSpec, InnerLink, LinkSpec, LinkState, Master, NamespaceModel, NetworkModel, PortElement, PortSet,
    Route, VxlanSpec,
};
use sf_netstate::names::Role;
use sf_netstate::nft::{Element, ElementKey, Fingerprint, TableState};

fn ip() -> impl Strategy<Value = IpAddr> {
    (0u8..4).prop_map(|n| IpAddr::from([10, 99, 0, n]))
}

fn mac() -> impl Strategy<Value = MacAddress> {
    (0u8..4).prop_map(|n| MacAddress::new([2, 0, 0, 0, 0, n]))
}

fn mtu() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1_400), Just(1_450)]
}

fn table() -> impl Strategy<Value = TableState> {
    let element = (0u8..4, any::<bool>()).prop_map(|(n, mapped)| {
        let data = if mapped { vec![n] } else { Vec::new() };
        (ElementKey { bytes: vec![n], range_end: false }, Element { data, ..Element::default() })
    });
    let members = proptest::collection::vec(element, 0..4)
        .prop_map(|list| list.into_iter().collect::<BTreeMap<_, _>>());
    (0u8..2, members.clone(), members).prop_map(|(version, floating, routed)| TableState {
        fingerprint: Fingerprint { version: version.to_string(), ..Fingerprint::default() },
        elements: BTreeMap::from([("floating".to_owned(), floating), ("routed".to_owned(), routed)]),
    })
}

/// A wanted state, as intents make them.
fn wanted() -> impl Strategy<Value = NetworkModel> {
    let segment = (mtu(), any::<bool>(), 1u32..3, btree_set(ip(), 0..4), btree_map(mac(), ip(), 0..4));
    let ports = btree_set((0u8..4).prop_map(|n| PortElement { set: PortSet::Macs, key: vec![n] }), 0..4);
    let carrier = proptest::option::of((any::<bool>(), any::<bool>(), table(), btree_set(0u8..4, 0..4)));
    let present =
        (segment, ports, carrier).prop_map(|((mtu, learning, lower, flood, unicast), ports, carrier)| {
            let vxlan = VxlanSpec { local: [10, 99, 0, 9].into(), port: 4_789, lower, learning };
            let link = |spec, up, master| LinkState { spec, mtu, up, master };
            let mut model = NetworkModel { flood, unicast, ports, ..NetworkModel::default() };
            model.links.insert(Role::Vxlan, link(LinkSpec::Vxlan(vxlan), true, Some(Master::Network)));
            model.links.insert(Role::Bridge, link(LinkSpec::Bridge(BridgeSpec::WANTED), true, None));
            if let Some((egress, live, table, routed)) = carrier {
                model.links.insert(Role::GatewayOuter, link(LinkSpec::Veth, true, Some(Master::Network)));
                let mut inner = vec![Role::GatewayInner];
                if egress {
                    model.links.insert(Role::EgressOuter, link(LinkSpec::Veth, live, Some(Master::Egress)));
                    inner.push(Role::EgressInner);
                }
                model.namespace = Some(namespace(&inner, mtu, table, routed));
            }
            model
        });
    prop_oneof![1 => Just(NetworkModel::default()), 8 => present]
}

fn namespace(roles: &[Role], mtu: u32, table: TableState, routed: BTreeSet<u8>) -> NamespaceModel {
    let mut space = NamespaceModel { table: Some(table), ..NamespaceModel::default() };
    for role in roles {
        let mac = MacAddress::new([2, 0x53, 0x46, 0, 0, *role as u8]);
        space.links.insert(*role, InnerLink { mac, mtu, up: true, marked: true });
        space.addresses.insert((*role, "10.0.0.1/24".parse().unwrap()));
        for n in &routed {
            let destination = format!("192.0.2.{n}/32").parse().unwrap();
            space.routes.insert(Route { destination, role: *role, via: None, source: None });
            space.proxies.insert((*role, IpAddr::from([192, 0, 2, *n])));
        }
    }
    space
}

/// Any state the kernel may be found in: a wanted one, damaged.
fn found() -> impl Strategy<Value = NetworkModel> {
    (wanted(), proptest::collection::vec((0u8..12, any::<bool>()), 0..6)).prop_map(|(mut model, damages)| {
        for (kind, other) in damages {
            damage(&mut model, kind, other);
        }
        model
    })
}

fn damage(model: &mut NetworkModel, kind: u8, other: bool) {
    let role = if other { Role::Bridge } else { Role::EgressOuter };
    match kind {
        0 => Change::DeleteLink(Role::Vxlan).apply(model),
        1 => Change::DeleteLink(role).apply(model),
        2 => Change::SetUp(role, other).apply(model),
        3 => Change::SetMtu(role, 1_280).apply(model),
        4 => Change::SetMaster(Role::Vxlan, Some(Master::Other(7))).apply(model),
        5 => model.links.values_mut().take(1).for_each(|link| link.spec = LinkSpec::Unusable),
        6 => Change::DeleteNamespace.apply(model),
        7 => model.namespace = None,
        8 => model.namespace.iter_mut().for_each(|space| space.table = None),
        9 => model.namespace.iter_mut().for_each(|space| space.links.clear()),
        10 => Change::SetBridge(BridgeSpec { stp: other, ..BridgeSpec::WANTED }).apply(model),
        _ => model.namespace.iter_mut().for_each(|space| space.addresses.clear()),
    }
}

fn apply(model: &NetworkModel, changes: &[Change]) -> NetworkModel {
    let mut model = model.clone();
    changes.iter().for_each(|change| change.apply(&mut model));
    model
}

/// Whether the network speaks to the outside although its rules or addresses are not complete.
fn leaks(model: &NetworkModel, wanted: &NetworkModel) -> bool {
    let live = model
        .links
        .get(&Role::EgressOuter)
        .is_some_and(|link| link.up && link.master == Some(Master::Egress));
    let rules = |model: &NetworkModel| model.namespace.as_ref().and_then(|space| space.table.clone());
    live && rules(model) != rules(wanted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_plan_reaches_the_goal(from in found(), to in wanted()) {
        prop_assert_eq!(apply(&from, &diff(&from, &to)), to);
    }

    #[test]
    fn without_a_difference_there_is_nothing_to_do(state in wanted()) {
        prop_assert_eq!(diff(&state, &state), Vec::new());
    }

    #[test]
    fn an_interrupted_plan_is_completed_by_the_next(from in found(), to in wanted(), cut in 0usize..40) {
        let plan = diff(&from, &to);
        let half = apply(&from, &plan[..cut.min(plan.len())]);
        prop_assert_eq!(apply(&half, &diff(&half, &to)), to);
    }

    #[test]
    fn egress_is_never_brought_up_before_its_rules(from in found(), to in wanted()) {
        let mut state = from.clone();
        for change in diff(&from, &to) {
            let before = leaks(&state, &to);
            change.apply(&mut state);
            prop_assert!(before || !leaks(&state, &to), "{:?}", change);
        }
    }

    #[test]
    fn what_stays_is_not_made_anew(state in wanted(), other in wanted()) {
        // A bridge that only changes options keeps its guests: it is never deleted.
        if state.links.contains_key(&Role::Bridge) && other.links.contains_key(&Role::Bridge) {
            prop_assert!(!diff(&state, &other).contains(&Change::DeleteLink(Role::Bridge)));
        }
    }
}
