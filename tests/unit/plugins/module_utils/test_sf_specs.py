"""The short forms of disks, networks and video."""
from __future__ import annotations

import pytest

from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_specs


def full(**given):
    return {'size': None, 'base': None, 'bus': None, 'type': 'disk', **given}


@pytest.mark.parametrize('written, meant', [
    ('8', full(size=8)),
    ('8@debian:12', full(size=8, base='debian:12')),
    ('8@https://user@host/x.qcow2', full(size=8, base='https://user@host/x.qcow2')),
])
def test_disk(written, meant):
    assert sf_specs.disk(written) == meant


@pytest.mark.parametrize('written, meant', [
    ('size=8,base=debian:12,bus=scsi,type=cdrom', full(size=8, base='debian:12', bus='scsi', type='cdrom')),
    ('base=https://host/x?version=3', full(base='https://host/x?version=3')),
    ('size=8, base=, type=', full(size=8)),
    ({'size': '8', 'base': 'https://host/a,b'}, full(size=8, base='https://host/a,b')),
])
def test_diskspec(written, meant):
    assert sf_specs.diskspec(written) == meant


@pytest.mark.parametrize('written, meant', [
    ('network_uuid=n', {'network_uuid': 'n'}),
    ('network_uuid=n,address=10.0.0.5,float=True', {'network_uuid': 'n', 'address': '10.0.0.5', 'float': True}),
    ('network_uuid=n,address=,float=no', {'network_uuid': 'n', 'float': False}),
    ({'network_uuid': 'n', 'float': False, 'model': None}, {'network_uuid': 'n', 'float': False}),
])
def test_networkspec(written, meant):
    assert sf_specs.networkspec(written) == meant


@pytest.mark.parametrize('written, meant', [
    ('virtio', {'model': 'virtio'}),
    ('model=virtio,memory=65536', {'model': 'virtio', 'memory': 65536}),
    ({'model': 'qxl', 'vdi': 'vnc'}, {'model': 'qxl', 'vdi': 'vnc'}),
])
def test_video(written, meant):
    assert sf_specs.video(written) == meant


@pytest.mark.parametrize('parse, written, words', [
    (sf_specs.disk, 'big@debian', "size must be a whole number, not 'big'"),
    (sf_specs.diskspec, 'size', "'size' is not of the form key=value"),
    (sf_specs.diskspec, 'sise=8', "'sise' is none of size, base, bus, type"),
    (sf_specs.networkspec, 'address=10.0.0.5', 'network_uuid is missing'),
    (sf_specs.networkspec, 'network_uuid=n,float=perhaps', "float must be true or false, not 'perhaps'"),
    (sf_specs.video, 'memory=5', 'model is missing'),
])
def test_what_cannot_be_understood_is_named(parse, written, words):
    with pytest.raises(sf_specs.BadSpec, match=words):
        parse(written)


@pytest.mark.parametrize('existing, asked, same', [
    (full(size=8, type=None), full(size=8), True),
    (full(size=8, bus='nvme'), full(size=8), True),
    (full(size=8), full(size=8, bus='virtio'), True),
    (full(size=8, bus='nvme'), full(size=8, bus='virtio'), False),
    (full(size=8, base='none'), full(size=8), True),
    (full(size=8, base='debian:12'), full(size=8), False),
    (full(size=8, base='debian:12'), full(base='debian:12'), True),
    (full(size=8), full(size=9), False),
    (full(size=8), full(size=8, type='cdrom'), False),
])
def test_same_disk(existing, asked, same):
    assert sf_specs.same_disk(existing, asked) is same


VIEW = {'network_uuid': 'n', 'ipv4': '10.0.0.5', 'macaddr': '02:00:00:AA:00:01', 'model': 'virtio', 'floating': '203.0.113.9'}


@pytest.mark.parametrize('asked, same', [
    ({'network_uuid': 'n'}, True),
    ({'network_uuid': 'm'}, False),
    ({'network_uuid': 'n', 'float': True}, True),
    ({'network_uuid': 'n', 'float': False}, False),
    ({'network_uuid': 'n', 'macaddress': '02:00:00:aa:00:01', 'address': '10.0.0.5'}, True),
    ({'network_uuid': 'n', 'address': 'none'}, False),
    ({'network_uuid': 'n', 'model': 'e1000'}, False),
])
def test_same_interface(asked, same):
    assert sf_specs.same_interface(sf_specs.interface(VIEW), asked) is same


def test_an_interface_without_an_address():
    existing = sf_specs.interface({**VIEW, 'ipv4': None})
    assert sf_specs.same_interface(existing, {'network_uuid': 'n', 'address': 'None'})
