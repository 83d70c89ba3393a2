#!/usr/bin/env bash
# Builds the tiny guest: Debian's own cloud kernel and busybox on a bootable FAT disk of 24 MiB, as qcow2.
#
#   guest-image.sh OUTPUT.qcow2
#
# Needs neither root nor loop mounts. Nothing but Debian packages is downloaded. The result is cached by a hash of this
# recipe and the kernel's version: a second run is a copy.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

output=${1:?usage: guest-image.sh OUTPUT.qcow2}
cache=${SF_CACHE:-$(root_dir)/.cache}/guest
recipe=$(dirname "$0")/guest
mkdir -p "$cache" "$(dirname "$output")"

tree=$("$(dirname "$0")/guest-kernel.sh")
key=$(cat "$0" "$recipe"/* | sha256sum | cut -c1-16)-${tree##*/linux-image-}
image=$cache/$key.qcow2

if [ ! -f "$image" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    kernel=$(echo "$tree"/boot/vmlinuz-*)
    modules=$(echo "$tree"/lib/modules/*)

    # The modules a guest of ours can meet, in load order.
    root=$work/root
    mkdir -p "$root"/{bin,dev,etc,lib/modules,mnt,proc,run,sys,tmp}
    cp /bin/busybox "$root/bin/busybox"
    : >"$root/etc/modules"
    for name in failover net_failover virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
        virtio_net scsi_common scsi_mod virtio_scsi cdrom sr_mod crc-t10dif crct10dif_common t10-pi sd_mod virtio_blk libata ahci libahci \
        e1000 e1000e nls_base isofs fat vfat virtio_rng button evdev; do
        file=$(find "$modules" -name "$name.ko" -o -name "${name//_/-}.ko" | head -n 1)
        [ -n "$file" ] || continue # Built into this kernel.
        cp "$file" "$root/lib/modules/"
        basename "$file" >>"$root/etc/modules"
    done
    cp "$recipe/init" "$root/init"
    cp "$recipe/udhcpc.script" "$root/etc/udhcpc.script"
    chmod 0755 "$root/init" "$root/etc/udhcpc.script" "$root/bin/busybox"
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner 0:0 | gzip -9) >"$work/initrd.gz"

    disk=$work/disk.raw
    truncate -s 24M "$disk"
    mkfs.vfat -n SFGUEST "$disk" >/dev/null
    syslinux --install "$disk"
    mcopy -i "$disk" "$recipe/syslinux.cfg" ::syslinux.cfg
    mcopy -i "$disk" "$kernel" ::vmlinuz
    mcopy -i "$disk" "$work/initrd.gz" ::initrd.gz
    qemu-img convert -q -f raw -O qcow2 "$disk" "$image.new"
    mv "$image.new" "$image"
fi
cp "$image" "$output"
