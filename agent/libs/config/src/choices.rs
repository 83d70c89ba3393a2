//! Keys that are one word out of a closed set.

use std::str::FromStr;

use strum::VariantNames;

use crate::spec::Kind;
use crate::value::ConfigValue;

macro_rules! choices {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames)]
        #[strum(serialize_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl ConfigValue for $name {
            const KIND: Kind = Kind::Text;
            fn parse(text: &str) -> Result<Self, String> {
                Self::from_str(text).map_err(|_| format!("must be one of {}", Self::VARIANTS.join(", ")))
            }
            fn render(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

choices! {
    /// Least severe line that a daemon writes.
    LogLevel {
        /// Everything.
        Trace,
        /// Steps of work.
        Debug,
        /// What happened.
        Info,
        /// What should be looked at.
        Warning,
        /// What failed.
        Error,
    }
    /// Whether connections between nodes are encrypted and mutually authenticated.
    MeshTls {
        /// They are not; the mesh is isolated.
        Off,
        /// They are.
        Required,
    }
    /// What QEMU uses to run guests.
    VirtType {
        /// KVM when it really works, else emulation when that is allowed.
        Auto,
        /// KVM, or the node refuses to be a hypervisor.
        Kvm,
        /// Emulation.
        Qemu,
    }
    /// Which hypervisor implementation runs.
    HypervisorDriver {
        /// Real guests.
        Libvirt,
        /// Recorded calls, only in builds made for tests.
        Fake,
    }
    /// Default bus of disks.
    DiskBus {
        /// Paravirtual block device.
        Virtio,
        /// SCSI.
        Scsi,
        /// SATA.
        Sata,
        /// IDE, for very old guests.
        Ide,
        /// USB.
        Usb,
        /// NVMe.
        Nvme,
    }
    /// Cache mode of disks.
    DiskCacheMode {
        /// `none` where the file system can do direct I/O, else `writeback`.
        Auto,
        /// Direct I/O.
        None,
        /// Host cache, written through.
        Writethrough,
        /// Host cache.
        Writeback,
        /// Direct I/O, synchronous.
        Directsync,
    }
    /// How the connection to MariaDB is encrypted. None of them goes on without encryption when the server has none.
    MariadbTlsMode {
        /// Not at all.
        Disabled,
        /// Encrypted; whoever answers is believed.
        Required,
        /// The certificate must be signed by the CA, for whatever name.
        VerifyCa,
        /// The certificate must be signed by the CA, and be for the name or address that was called.
        VerifyIdentity,
    }
    /// How traffic of guests leaves.
    EgressMode {
        /// Masquerade behind the carrier's address.
        Nat,
        /// A bridge that owns the egress NIC.
        Bridged,
        /// Routed without translation.
        Routed,
    }
    /// How a carrier tells the outside where floating addresses are.
    AdvertiseMode {
        /// Gratuitous ARP in bridged mode, else nothing.
        Auto,
        /// Gratuitous ARP.
        Garp,
        /// Routes in a kernel table for a routing daemon.
        Route,
        /// The operator routes by hand.
        Manual,
    }
    /// Default port security of new interfaces.
    PortSecurity {
        /// Only the port's own MAC and address may be used.
        Strict,
        /// Only the port's own MAC may be used; any address.
        Mac,
        /// No filter.
        Off,
    }
    /// Whether capacity claims bind.
    ClaimEnforcement {
        /// Beyond the claim is refused.
        Hard,
        /// Beyond the claim is noted.
        Advisory,
    }
}
