//! A drive as its readers see it: the same names and bytes through Rock Ridge and through Joliet, by a tool and by the
//! kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail loudly and says why it is skipped"
)]

use std::path::Path;
use std::process::Command;

use chrono::DateTime;
use sf_hypervisor::configdrive::{ConfigDriveSpec, VOLUME_ID, build};
use sf_model::InstanceId;

fn drive() -> Vec<u8> {
    let spec = ConfigDriveSpec {
        instance: InstanceId::random(),
        name: "box".into(),
        namespace: "team".into(),
        zone: "cloud".into(),
        ssh_key: Some("ssh-ed25519 AAAA user".into()),
        user_data: Some([b"#!/bin/sh\n".as_slice(), &vec![b'x'; 10_000]].concat()),
        random_seed: vec![7; 512],
        interfaces: Vec::new(),
        dns_servers: Vec::new(),
    };
    build(&spec, DateTime::UNIX_EPOCH).unwrap()
}

const FILES: [&str; 5] =
    ["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"];

fn expected_paths() -> Vec<String> {
    let mut paths = vec!["/openstack".to_owned()];
    for version in ["2017-02-22", "latest"] {
        paths.push(format!("/openstack/{version}"));
        paths.extend(FILES.iter().map(|file| format!("/openstack/{version}/{file}")));
    }
    paths.sort();
    paths
}

fn isoinfo(image: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("isoinfo").arg("-i").arg(image).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn both_name_trees_have_the_same_files() {
    if Command::new("isoinfo").arg("-version").output().is_err() {
        eprintln!("skipped: isoinfo (package genisoimage) is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("drive");
    std::fs::write(&image, drive()).unwrap();
    let volume = String::from_utf8(isoinfo(&image, &["-d"])).unwrap();
    assert!(volume.contains(&format!("Volume id: {VOLUME_ID}")), "{volume}");
    assert!(volume.contains("Joliet with UCS level 3 found"), "{volume}");
    assert!(volume.contains("Rock Ridge signatures version 1 found"), "{volume}");
    for tree in ["-R", "-J"] {
        let listing = String::from_utf8(isoinfo(&image, &[tree, "-f"])).unwrap();
        let mut paths: Vec<&str> = listing.lines().filter(|line| line.starts_with('/')).collect();
        paths.sort_unstable();
        assert_eq!(paths, expected_paths(), "{tree}");
        let user_data = isoinfo(&image, &[tree, "-x", "/openstack/latest/user_data"]);
        assert!(user_data.starts_with(b"#!/bin/sh\n") && user_data.len() == 10_010, "{tree}");
        let meta = isoinfo(&image, &[tree, "-x", "/openstack/2017-02-22/meta_data.json"]);
        let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
        assert_eq!(meta["public_keys"]["mykey"], "ssh-ed25519 AAAA user", "{tree}");
    }
}

#[test]
fn the_kernel_mounts_it_with_and_without_rock_ridge() {
    let kernel_knows =
        std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("iso9660"));
    let root = nix::unistd::Uid::effective().is_root();
    if !root
        || (!kernel_knows && !Command::new("modprobe").arg("isofs").status().is_ok_and(|it| it.success()))
    {
        eprintln!("skipped: mounting ISO 9660 needs root and a kernel that knows it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, target) = (dir.path().join("drive"), dir.path().join("mount"));
    std::fs::write(&image, drive()).unwrap();
    std::fs::create_dir(&target).unwrap();
    for options in ["loop,ro", "loop,ro,norock"] {
        let mounted =
            Command::new("mount").args(["-t", "iso9660", "-o", options]).arg(&image).arg(&target).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: this kernel offers no loop devices");
            return;
        }
        let names: Vec<String> = FILES
            .iter()
            .filter(|file| target.join("openstack/latest").join(file).is_file())
            .map(|file| (*file).to_owned())
            .collect();
        let content = std::fs::read(target.join("openstack/latest/user_data"));
        Command::new("umount").arg(&target).status().unwrap();
        assert_eq!(names, FILES, "{options}");
        assert_eq!(content.unwrap().len(), 10_010, "{options}");
    }
}
