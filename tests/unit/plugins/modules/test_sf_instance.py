"""What an instance is asked to be, and whether it is."""
from __future__ import annotations

import types

import pytest

from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_api, sf_objects, sf_task
from ansible_collections.shakenfist.cloud.plugins.modules import sf_instance

NETWORK = 'a8a52ac5-49b6-4444-80d0-3ab6573343ad'
BLOB = '9cd9ca86-0dd4-4ddd-aa28-822855ea4318'
OPTIONS = (
    'name', 'cpu', 'ram', 'ssh_key', 'user_data', 'uefi', 'secureboot', 'nvram_template', 'configdrive', 'side_channels',
    'metadata', 'placement', 'disks', 'diskspecs', 'networks', 'networkspecs', 'video',
)
VIEW = {
    'uuid': BLOB, 'name': 'web', 'namespace': 'tenant', 'state': 'created', 'error_message': None, 'cpus': 1, 'memory': 1024,
    'ssh_key': 'ssh-ed25519 AAAA me\n', 'user_data': 'AAAA\nBBBB\n', 'uefi': True, 'secure_boot': False,
    'nvram_template': BLOB, 'configdrive': 'openstack-disk', 'side_channels': ['sf-agent', 'sf-agent2'],
    'metadata': {'owner': 'me'}, 'node': 'sf-1', 'node_uuid': NETWORK,
    'disk_spec': [{'size': 8, 'base': 'debian:12', 'bus': None, 'type': 'disk'}],
    'interfaces': [
        {'network_uuid': NETWORK, 'ipv4': '10.0.0.5', 'macaddr': '02:00:00:00:00:01', 'model': 'virtio', 'floating': None}
    ],
    'video': {'model': 'cirrus', 'memory': 16384, 'vdi': 'spice'},
}


def opinions(**given):
    task = types.SimpleNamespace(params={**dict.fromkeys(OPTIONS), **given})
    return sf_instance.Instance().opinions(task)


def differences(**given):
    kind = sf_instance.Instance()
    return sf_objects._compare(kind, VIEW, kind.current(VIEW), opinions(**given))[1]


@pytest.mark.parametrize('given', [
    {},
    {'cpu': 1, 'ram': 1024, 'disks': ['8@debian:12']},
    {'diskspecs': ['base=debian:12']},
    {'networks': [NETWORK.upper()]},
    {'networkspecs': [f'network_uuid={NETWORK},float=false,address=10.0.0.5']},
    {'ssh_key': 'ssh-ed25519 AAAA me', 'user_data': 'AAAABBBB'},
    {'side_channels': ['sf-agent2', 'sf-agent']},
    {'placement': 'sf-1'},
    {'placement': NETWORK},
    {'video': 'cirrus'},
    {'nvram_template': f'sf://blob/{BLOB}'},
    {'nvram_template': 'label:firmware'},
    {'metadata': {'owner': 'you'}},
])
def test_an_instance_that_is_as_asked_for(given):
    assert differences(**given) == []


@pytest.mark.parametrize('given, field', [
    ({'name': 'other'}, 'name'),
    ({'cpu': 2}, 'cpu'),
    ({'disks': ['8@debian:13']}, 'disks'),
    ({'disks': ['8@debian:12', '1']}, 'disks'),
    ({'networks': []}, 'networks'),
    ({'networkspecs': [f'network_uuid={NETWORK},float=true']}, 'networks'),
    ({'ssh_key': 'ssh-ed25519 BBBB me'}, 'ssh_key'),
    ({'user_data': ''}, 'user_data'),
    ({'side_channels': []}, 'side_channels'),
    ({'placement': 'sf-2'}, 'placement'),
    ({'video': 'model=cirrus,memory=65536'}, 'video'),
    ({'nvram_template': NETWORK}, 'nvram_template'),
    ({'uefi': False}, 'uefi'),
    ({'secureboot': True}, 'secureboot'),
])
def test_an_instance_that_is_not_as_asked_for(given, field):
    assert differences(**given) == [field]


def test_what_is_not_asked_for_stays_in_a_recreated_one():
    kind = sf_instance.Instance()
    after, changed = sf_objects._compare(kind, VIEW, kind.current(VIEW), opinions(ram=2048, metadata={'owner': None, 'a': 1}))
    assert changed == ['ram']
    body = kind.body(after)
    assert body['memory'] == 2048 and body['cpus'] == 1 and body['metadata'] == {'a': 1}
    assert body['disk'] == VIEW['disk_spec'] and body['user_data'] == VIEW['user_data']
    assert body['network'][0]['address'] == '10.0.0.5' and body['video'] == VIEW['video']


def renewed(**given):
    kind, asked = sf_instance.Instance(), opinions(**given)
    after = sf_objects._compare(kind, VIEW, kind.current(VIEW), asked)[0]
    return kind.renewed(after, asked)['networks']


def test_a_recreated_instance_keeps_its_addresses_and_only_a_mac_address_that_is_asked_for():
    kept = {'network_uuid': NETWORK, 'address': '10.0.0.5', 'model': 'virtio', 'float': False}
    assert renewed(ram=2048) == renewed(ram=2048, networks=[NETWORK]) == [kept]
    mac = '02:00:00:00:00:01'
    with_mac = f'network_uuid={NETWORK},macaddress={mac}'
    assert renewed(ram=2048, networkspecs=[with_mac]) == [{**kept, 'macaddress': mac}]
    assert renewed(networks=[BLOB, NETWORK]) == [{'network_uuid': BLOB}, {'network_uuid': NETWORK}]
    taken = sf_api.ApiError(409, f'MAC address {mac} is taken in pool mac')
    assert sf_instance.Instance().passes(taken, VIEW)
    assert not sf_instance.Instance().passes(sf_api.ApiError(409, 'address 10.0.0.9 is taken'), VIEW)


def test_an_instance_in_error_is_never_as_asked_for():
    kind, view = sf_instance.Instance(), {**VIEW, 'state': 'error', 'error_message': 'no image'}
    after, changed = sf_objects._compare(kind, view, kind.current(view), opinions(cpu=2, ssh_key='another'))
    before, shown = sf_objects._shown(kind, view, kind.current(view), after, changed)
    words = sf_objects._explain(kind, view, changed, before, shown)
    assert 'cpu is 1 and should be 2; ssh_key is another one; it is in error (no image)' in words
    assert 'deletes it with its disks' in words
    assert (before['state'], shown['state']) == ('error', 'created')


def test_secrets_are_not_shown():
    kind = sf_instance.Instance()
    current = kind.current(VIEW)
    before, after = sf_objects._shown(kind, VIEW, current, {**current, 'user_data': 'CCCC'}, ['user_data'])
    assert before['user_data'] == sf_task.HIDDEN and after['user_data'] == sf_task.HIDDEN_CHANGE
    assert kind.meta(VIEW)['user_data'] == kind.meta(VIEW)['ssh_key'] == sf_task.HIDDEN


def test_secure_boot_implies_uefi():
    assert opinions(secureboot=True)['uefi'] is True
    assert 'uefi' not in opinions(secureboot=False)


def test_a_specification_that_cannot_be_understood_is_a_failure():
    with pytest.raises(sf_task.Failure, match="'sise' is none of"):
        opinions(diskspecs=['sise=8'])
