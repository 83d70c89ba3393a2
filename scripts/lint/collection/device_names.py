"""What keeps network managers away from our devices: it covers every name of ours, and none that operators give their own."""

import re
from fnmatch import fnmatchcase

# Every kind of name that `names.rs` makes.
OURS = (
    "vxlan-abcdef", "br-vxlan-00aa00", "veth-00aa00-o", "veth-00aa00-i", "egr-00aa00-o", "egr-00aa00-i", "egr-br-eth0", "egr-br-enp0s31f",
    "tap020000112233",
)
THEIRS = (
    "br-mgmt", "br-lan", "br0", "br-0123456789ab", "vxlan-1", "vxlan-storage", "egress0", "egr-dmz", "veth-abc", "vethd3f1a20", "phy-eth0", "tap0",
    "tap-vpn", "vnet0", "docker0", "eth0",
)
FILES = {
    "net.link": re.compile(r"^OriginalName=(.+)$", re.MULTILINE),
    "net.network": re.compile(r"^Name=(.+)$", re.MULTILINE),
    "nm-unmanaged.conf": re.compile(r"^unmanaged-devices=(.+)$", re.MULTILINE),
}


def problems(folder):
    """Names that a file in the folder takes for ours and that are not, or the reverse."""
    for name, line in FILES.items():
        found = line.search((folder / name).read_text())
        if not found:
            yield f"{name} names no device"
            continue
        matches = _network_manager if name.startswith("nm-") else _systemd
        yield from (f"{name} does not cover our {device}" for device in OURS if not matches(found[1], device))
        yield from (f"{name} takes {device} of the operator for ours" for device in THEIRS if matches(found[1], device))


def _systemd(patterns, device):
    return any(fnmatchcase(device, pattern) for pattern in patterns.split())


def _network_manager(patterns, device):
    """It knows `*` and `?`; brackets stand for themselves."""
    for pattern in patterns.split(";"):
        plain = re.escape(pattern.removeprefix("interface-name:")).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(plain, device):
            return True
    return False
