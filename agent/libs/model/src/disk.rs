//! Closed sets of an instance's devices.

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

macro_rules! closed {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $(= $text:literal)?),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
        #[strum(serialize_all = "lowercase")]
        pub enum $name {
            $($(#[$vdoc])* $(#[strum(serialize = $text)])? $variant),*
        }
    )*};
}

closed! {
    /// How a disk is attached. IDE is not offered.
    DiskBus {
        /// virtio-blk.
        Virtio,
        /// virtio-scsi.
        Scsi,
        /// SATA.
        Sata,
        /// USB mass storage.
        Usb,
        /// NVMe.
        Nvme,
    }
    /// What a disk presents itself as.
    DiskType {
        /// A hard disk.
        Disk,
        /// An optical drive.
        Cdrom,
    }
    /// How the bytes of a disk are kept.
    DiskFormat {
        /// qcow2.
        Qcow2,
        /// Plain bytes.
        Raw,
    }
    /// Network card models a guest may have.
    NicModel {
        /// virtio-net.
        Virtio,
        /// Intel 82540EM.
        E1000,
        /// Intel 82574L.
        E1000e,
        /// Realtek 8139.
        Rtl8139,
    }
    /// Graphical console protocols.
    VdiKind {
        /// VNC.
        Vnc,
        /// SPICE, one client.
        Spice,
        /// SPICE with several clients.
        SpiceConcurrent,
        /// SPICE with debug output.
        SpiceDebug,
    }
    /// How instance data reaches the guest.
    ConfigDrive {
        /// An OpenStack configuration drive.
        OpenstackDisk = "openstack-disk",
        /// Not at all.
        None,
    }
    /// Emulated machine.
    MachineType {
        /// i440FX.
        Pc,
        /// Q35, used for secure boot.
        Q35,
    }
    /// Side channels an instance may ask for.
    SideChannel {
        /// The retired virtio-serial agent: stored, makes no device.
        SfAgent = "sf-agent",
        /// The vsock agent.
        SfAgent2 = "sf-agent2",
    }
    /// How strictly a guest's frames are filtered (`networking.md` §6).
    PortSecurity {
        /// MAC, ARP and IPv4 source are checked.
        Strict,
        /// The source MAC is checked.
        Mac,
        /// Nothing is checked.
        Off,
    }
    /// Types of artifacts.
    ArtifactType {
        /// From a URL or upload.
        Image,
        /// From an instance disk.
        Snapshot,
        /// A curated pointer.
        Label,
        /// Anything else.
        Other,
    }
}

impl MachineType {
    /// Q35 exactly for secure boot (`instances.md` §3.1).
    pub const fn for_secure_boot(secure_boot: bool) -> Self {
        if secure_boot { Self::Q35 } else { Self::Pc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_contract() {
        assert_eq!(ConfigDrive::OpenstackDisk.to_string(), "openstack-disk");
        assert_eq!("spiceconcurrent".parse(), Ok(VdiKind::SpiceConcurrent));
        assert_eq!("e1000e".parse(), Ok(NicModel::E1000e));
        assert!("ide".parse::<DiskBus>().is_err());
        assert_eq!(SideChannel::SfAgent2.to_string(), "sf-agent2");
    }
}
