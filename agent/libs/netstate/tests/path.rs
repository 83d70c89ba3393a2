//! Packets of a size between two namespaces, of which the far one takes smaller packets than the near one sends.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and a skipped test says so"
)]

use std::net::Ipv4Addr;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sf_netstate::path::passes;

const NEAR: &str = "10.0.0.1";
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// A network and a place for named namespaces of our own.
fn enter() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    std::fs::create_dir_all("/run/netns").ok();
    mount(Some("none"), "/run/netns", Some("tmpfs"), MsFlags::empty(), nothing)
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_packet_passes_whole_or_not_at_all() {
    if let Err(error) = enter() {
        eprintln!("skipped: network namespaces cannot be made here: {error}");
        return;
    }
    ip("netns add far");
    ip("link add near mtu 3000 type veth peer name far mtu 1500 netns far");
    ip(&format!("address add {NEAR}/24 dev near"));
    ip("link set near up");
    ip(&format!("-n far address add {FAR}/24 dev far"));
    ip("-n far link set far up");

    for (bytes, expected) in [(1_400, true), (1_500, true), (2_900, false), (9_000, false)] {
        assert_eq!(passes(FAR, bytes).unwrap(), expected, "{bytes}");
    }
    ip("-n far link set far mtu 3000");
    assert!(passes(FAR, 2_900).unwrap());
    assert!(!passes(Ipv4Addr::new(10, 0, 0, 3), 1_400).unwrap(), "nobody is there");
    assert!(!passes(Ipv4Addr::new(192, 0, 2, 1), 1_400).unwrap(), "there is no way");
}
