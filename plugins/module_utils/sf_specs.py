# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""The short forms in which disks, networks and video are written, and what they mean to the API."""
from __future__ import annotations

DISK_KEYS = ('size', 'base', 'bus', 'type')
NETWORK_KEYS = ('network_uuid', 'address', 'macaddress', 'model', 'float')
VIDEO_KEYS = ('model', 'memory', 'vdi')
# The API wants both model and memory; this is what it takes when it is told neither.
VIDEO_MEMORY = 16384

TRUE = ('true', 'yes', 'on', '1')
FALSE = ('false', 'no', 'off', '0')


class BadSpec(ValueError):
    """A specification that cannot be understood."""


def disk(text):
    """`8` or `8@debian:12`."""
    size, at, base = str(text).partition('@')
    return {'size': _whole(size, 'size', text), 'base': base or None, 'bus': None, 'type': 'disk'}


def diskspec(spec):
    """`size=8,base=debian:12,bus=scsi,type=disk`, or the same as a mapping. Complete, as the API answers it."""
    given = _pairs(spec, DISK_KEYS)
    return {
        'size': None if given.get('size') is None else _whole(given['size'], 'size', spec),
        'base': _word(given.get('base')), 'bus': _word(given.get('bus')), 'type': _word(given.get('type')) or 'disk',
    }


def networkspec(spec):
    """`network_uuid=…,address=10.0.0.5,float=true`, or the same as a mapping. Only what was given is in the answer."""
    given = _pairs(spec, NETWORK_KEYS)
    if not given.get('network_uuid'):
        raise BadSpec(f'{spec}: network_uuid is missing')
    asked = {key: str(value) for key, value in given.items() if value is not None and value != ''}
    if 'float' in asked:
        asked['float'] = _truth(asked['float'], spec)
    return asked


def video(spec):
    """`cirrus`, `model=virtio,memory=65536,vdi=spice`, or the latter as a mapping. Only what was given is in the answer."""
    given = {'model': spec} if isinstance(spec, str) and '=' not in spec else _pairs(spec, VIDEO_KEYS)
    if 'memory' in given:
        given['memory'] = _whole(given['memory'], 'memory', spec)
    if not given.get('model'):
        raise BadSpec(f'{spec}: model is missing')
    return given


def same_disk(existing, asked):
    """Whether a disk is as asked for. A bus or size that was not asked for may be any."""
    def base(one):
        return None if one['base'] in (None, '', 'none') else one['base']

    return (
        base(existing) == base(asked)
        and (existing['type'] or 'disk') == asked['type']
        and (asked['bus'] is None or (existing['bus'] or 'virtio') == asked['bus'])
        and (asked['size'] is None or existing['size'] == asked['size'])
    )


def same_interface(existing, asked):
    """Whether an interface is as asked for. What was not asked for may be anything."""
    def plain(key, value):
        return value.lower() if key in ('macaddress', 'address') else value

    return all(plain(key, existing[key]) == plain(key, value) for key, value in asked.items())


def interface(view):
    """An interface of an instance, in the words of a network specification."""
    return {
        'network_uuid': view['network_uuid'], 'address': view['ipv4'] or 'none', 'macaddress': view['macaddr'],
        'model': view['model'], 'float': bool(view['floating']),
    }


def _pairs(spec, allowed):
    if isinstance(spec, dict):
        given = dict(spec)
    else:
        given = {}
        for pair in str(spec).split(','):
            key, equals, value = pair.partition('=')
            if not equals:
                raise BadSpec(f"{spec}: '{pair}' is not of the form key=value")
            given[key.strip()] = value.strip()
    for key in given:
        if key not in allowed:
            raise BadSpec(f"{spec}: '{key}' is none of {', '.join(allowed)}")
    return given


def _whole(value, name, spec):
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadSpec(f"{spec}: {name} must be a whole number, not '{value}'") from None


def _truth(value, spec):
    word = str(value).lower()
    if word not in TRUE + FALSE:
        raise BadSpec(f"{spec}: float must be true or false, not '{value}'")
    return word in TRUE


def _word(value):
    return None if value in (None, '') else str(value)
