#!/usr/bin/env bash
# Runs the quickstart inside a fresh Debian 12 root, so that no step of the installation can be missing.
#
# The root has nothing preinstalled but the Rust toolchain, which is bound in read-only (Debian's own is too old). The
# repository is a clean clone. Network, kernel and processors are the host's; everything else is the fresh root's.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root "make test-fresh"
command -v debootstrap >/dev/null || { apt-get update -q >/dev/null && apt-get install -y -q debootstrap git >/dev/null; }
root=$(root_dir)
cache=${SF_CACHE:-$root/.cache}
base=$cache/debian-12
mirror=${SF_DEBIAN_MIRROR:-http://deb.debian.org/debian}
rustup=$(rustc --print sysroot)

if [ ! -f "$base/ready" ]; then
    say "making a Debian 12 root (once)"
    rm -rf "$base"
    mkdir -p "$base"
    debootstrap --variant=minbase --include=ca-certificates,make,git bookworm "$base/root" "$mirror" >"$base/log" 2>&1 ||
        fail "debootstrap" "see $base/log" "check the network and the mirror $mirror"
    printf 'deb %s bookworm main\n' "$mirror" >"$base/root/etc/apt/sources.list"
    touch "$base/ready"
fi

fresh=$(mktemp -d /var/tmp/sf-fresh.XXXXXX)
cp -a "$base/root/." "$fresh/"
git clone -q "$root" "$fresh/src"
mkdir -p "$fresh/toolchain" "$fresh/opt/wheels"
cp -L /etc/resolv.conf "$fresh/etc/resolv.conf"
cp /etc/hosts "$fresh/etc/hosts"
# The trust store is the host's: a site may have an authority of its own.
cp /etc/ssl/certs/ca-certificates.crt "$fresh/etc/ssl/certs/ca-certificates.crt"

cat >"$fresh/enter" <<'INNER'
#!/bin/bash
# Runs inside the mount namespace, before the change of root.
set -e
fresh=$1
mount --make-rprivate /
mount --bind "$fresh" "$fresh"
mount --bind "$2" "$fresh/toolchain"
mount -o remount,bind,ro "$fresh/toolchain"
mount -t proc proc "$fresh/proc"
mount --rbind /sys "$fresh/sys"
mount --rbind /dev "$fresh/dev"
mount -t tmpfs -o mode=0755 tmpfs "$fresh/run"
mount --make-shared "$fresh/run"
exec chroot "$fresh" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    CARGO_HOME=/root/.cargo SF_PROFILE="$SF_PROFILE" /bin/bash -c 'cd /src && make quickstart && make quickstart-down'
INNER
chmod 0755 "$fresh/enter"
clean() {
    rm -rf --one-file-system "$fresh"
}
trap clean EXIT

say "quickstart in $fresh"
export SF_PROFILE=${SF_PROFILE:-release}
status=0
unshare --mount --pid --fork --kill-child "$fresh/enter" "$fresh" "$rustup" 2>&1 | tee "$cache/test-fresh.log" || status=$?
[ "$status" -eq 0 ] || fail "the quickstart in a fresh root" "it ended with status $status, see above" "read $cache/test-fresh.log"
grep -q '^QUICKSTART OK ' "$cache/test-fresh.log" || fail "the quickstart in a fresh root" "its last line is missing" "read $cache/test-fresh.log"
echo "TEST-FRESH OK"
