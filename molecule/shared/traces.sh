#!/bin/sh
# Everything that networks and instances leave in a host, one line each. Two equal answers mean: nothing came, nothing stayed.
set -eu
# The bridge to the outside belongs to the node and stays.
ip -oneline link show | cut -d: -f2 | cut -d@ -f1 | tr -d ' ' | grep -v '^egr-br-' | sed 's/^/device /' | sort
ls /run/netns 2>/dev/null | sed 's/^/namespace /'
ls /srv/shakenfist/instances | sed 's/^/instance /'
virsh --quiet list --all --name | sed '/^$/d; s/^/domain /'
pgrep --list-name qemu-system | sed 's/^[0-9]* /process /'
exit 0
