#!/bin/bash
# Everything of ours that a host still has, one line each; nothing after an uninstall. A part that cannot be read ends this with an error, and is
# never taken for an empty one.
set -euo pipefail
# grep ends with 1 when it finds nothing, which is what is hoped for.
pick() { grep "$@" || [ $? -eq 1 ]; }
# A host need not have all of these; one that is there is looked through. A link that leads nowhere is there, too.
for place in /etc/sf /etc/systemd /etc/sysusers.d /etc/tmpfiles.d /etc/sysctl.d /etc/udev /etc/NetworkManager \
    /usr/bin/sf-node /usr/bin/sf-ctl /usr/lib/shakenfist /run/sf; do
    if [ -e "$place" ] || [ -L "$place" ]; then
        find "$place" -name 'sf*' -o -name '*shakenfist*'
    fi
done
systemctl list-units --all --plain --no-legend 'sf-*' sf.target
ip -oneline link show | pick -E ' (egr-|vxlan-|br-vxlan-|veth-|tap)'
if [ -d /run/netns ]; then ls /run/netns | sed 's/^/namespace /'; fi
# Packages stay at an uninstall, so that only a host that never got the program has none.
if command -v nft >/dev/null; then nft list tables | pick ' sf_'; fi
