#!/usr/bin/env bash
# Builds the image of a test host: Debian with systemd, as little of it as a freshly installed machine has. Prints its tag.
#
#   image.sh SUITE bare           a host that nobody has touched
#   image.sh SUITE node|infra     the same with the packages of that kind of host, so that scenarios need not wait for apt
#
# The tag is a hash of this recipe, so a second run finds the image that the first one made.
set -euo pipefail
. "$(dirname "$0")/rig.sh"

suite=${1:?usage: image.sh SUITE bare|node|infra}
flavour=${2:?usage: image.sh SUITE bare|node|infra}
mirror=${SF_DEBIAN_MIRROR:-http://deb.debian.org/debian}
recipe=$(dirname "$0")/image

case "$flavour" in
bare) packages= ;;
node) packages=$(cat "$recipe/node.packages") ;;
infra) packages=$(cat "$recipe/infra.packages") ;;
*) fail "image.sh" "there is no image called $flavour" "see the head of this file" ;;
esac

base=shakenfist-test/$suite-bare:$(cat "$0" "$recipe/provision.sh" | sha256sum | cut -c1-12)
tag=$base
[ "$flavour" = bare ] || tag=shakenfist-test/$suite-$flavour:$(printf '%s %s' "$base" "$packages" | sha256sum | cut -c1-12)
exists() { docker image inspect "$1" >/dev/null 2>&1; }

if ! exists "$base"; then
    say "making the image of a bare $suite host (once)" >&2
    work=$(mktemp -d "$SF_CACHE/image.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    install -d "$SF_CACHE/debs"
    debootstrap --variant=minbase --cache-dir="$SF_CACHE/debs" \
        --include=systemd-sysv,dbus,python3,python3-apt,iproute2,openssh-server,sudo,procps,udev,libpam-systemd \
        "$suite" "$work/root" "$mirror" >"$SF_CACHE/debootstrap.log" 2>&1 ||
        fail "debootstrap $suite" "see $SF_CACHE/debootstrap.log" "check the network and the mirror $mirror"
    cp "$recipe/provision.sh" "$work/root/provision.sh"
    chroot "$work/root" sh /provision.sh "$suite" "$mirror" >&2
    rm "$work/root/provision.sh"
    tar -C "$work/root" -c . | docker import - "$base" >/dev/null
fi

if ! exists "$tag"; then
    say "adding the packages of the $flavour image (once)" >&2
    docker network inspect shakenfist-build >/dev/null 2>&1 ||
        docker network create --subnet 172.29.255.0/24 shakenfist-build >/dev/null
    box=$(docker create --network shakenfist-build -v "$SF_CACHE/apt:/var/cache/apt/archives" \
        -e DEBIAN_FRONTEND=noninteractive "$base" sh -c \
        "printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
         apt-get update -q && apt-get install -y -q --no-install-recommends $(echo $packages) && rm /usr/sbin/policy-rc.d")
    trap 'docker rm -f "$box" >/dev/null; docker network rm shakenfist-build >/dev/null' EXIT
    docker start -a "$box" >"$SF_CACHE/image-$flavour.log" 2>&1 ||
        fail "installing packages of the $flavour image" "see $SF_CACHE/image-$flavour.log" "check the network and the mirror $mirror"
    docker commit "$box" "$tag" >/dev/null
    # Images of earlier recipes are of no use any more; one that a host still runs stays.
    docker images --format '{{.Repository}}:{{.Tag}}' "${tag%:*}" | grep --invert-match --line-regexp "$tag" |
        xargs --no-run-if-empty docker rmi >/dev/null 2>&1 || true
fi
printf '%s\n' "$tag"
