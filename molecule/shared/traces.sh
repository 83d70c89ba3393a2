#!/bin/bash
# Everything that networks and instances leave in a host but for its packet filter, one line each. Two equal answers mean: nothing came, nothing
# stayed. A part that cannot be read ends this with an error, and is never taken for an empty one.
set -euo pipefail
# The bridge to the outside belongs to the node and stays.
ip -oneline link show | cut -d: -f2 | cut -d@ -f1 | tr -d ' ' | grep -v '^egr-br-' | sed 's/^/device /' | sort
if [ -d /run/netns ]; then ls /run/netns | sed 's/^/namespace /'; fi
ls /srv/shakenfist/instances | sed 's/^/instance /'
virsh --quiet list --all --name | sed '/^$/d; s/^/domain /'
# 1: there is no such process.
{ pgrep --list-name qemu-system || [ $? -eq 1 ]; } | sed 's/^[0-9]* /process /'
