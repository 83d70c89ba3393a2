#!/usr/bin/env bash
# Fetches Debian's cloud kernel for guests, without installing it, and prints the directory of its unpacked package. A second run
# only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cache=${SF_CACHE:-$(root_dir)/.cache}/guest
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ {print $2; exit}')
[ -n "$package" ] || fail "choosing the guest's kernel" "the package lists have no linux-image-cloud-amd64" "run apt-get update"
place=$cache/$package

if [ ! -d "$place" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d)
    unpacked=$(mktemp -d "$cache/unpacking.XXXXXX")
    trap 'rm -rf "$work" "$unpacked"' EXIT
    # apt fetches as a user of its own, which must be able to write here.
    chmod 0755 "$work" "$unpacked"
    chown _apt "$work" 2>/dev/null || true
    (cd "$work" && apt-get download -q "$package" >/dev/null) ||
        fail "downloading $package" "the package source did not answer" "check the network, or run apt-get update"
    dpkg-deb -x "$work/$package"_*.deb "$unpacked"
    mv --no-target-directory "$unpacked" "$place"
fi
printf '%s\n' "$place"
