#!/usr/bin/python
# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r'''
module: sf_instance
short_description: Create and delete instances
version_added: 0.1.0
author: The Shaken Fist Cloud authors (@shakenfist)
description:
  - Sees to it that an instance, a virtual machine, exists and is as described, or does not exist.
  - An instance is not changed in place. O(on_change) says what happens to one that is not as described.
  - An option that is left out is no opinion. It is decided by the cloud when the instance is made, and not compared later.
    An empty list is an opinion.
extends_documentation_fragment: shakenfist.cloud.connection
options:
  name:
    description:
      - Name of the instance, which is also its host name. It identifies the instance, unless O(uuid) is given as well.
    type: str
  uuid:
    description: UUID of the instance. If there is none with this UUID, O(name) is looked for.
    type: str
  cpu:
    description: Number of virtual processors. Needed to make an instance.
    type: int
  ram:
    description: Memory in MiB. Needed to make an instance.
    type: int
  disks:
    description:
      - Disks, each a size in GiB, or a size and what the disk is filled with, V(8@debian:12).
      - Filled from an image by short name or URL, C(label:name), or C(sf://artifact/uuid) and its relatives.
      - An instance needs at least one disk, from O(disks) or O(diskspecs). Those of O(disks) come first.
    type: list
    elements: str
  diskspecs:
    description:
      - Disks with all their properties, each a string such as V(size=8,base=debian:12,bus=virtio,type=disk), or a mapping
        with these keys. The mapping is the way to write a base with a comma in it.
      - C(bus) is one of C(virtio), C(scsi), C(sata), C(usb) and C(nvme), C(type) is C(disk) or C(cdrom).
    type: list
    elements: raw
  networks:
    description: Networks to be attached to, each by UUID or by name.
    type: list
    elements: str
  networkspecs:
    description:
      - Networks with properties of the interface, each a string such as
        V(network_uuid=backend,address=10.0.0.5,macaddress=02:00:00:00:00:05,model=virtio,float=true), or a mapping with
        these keys. Only C(network_uuid), a UUID or a name, is needed. They come after those of O(networks).
      - C(address=none) makes an interface without an address.
      - C(float) is compared as present or not, whichever floating address it is.
    type: list
    elements: raw
  ssh_key:
    description: Public SSH key for the first user of the guest.
    type: str
  user_data:
    description: User data for cloud-init, in base64.
    type: str
  placement:
    description: Name or UUID of the node to run on.
    type: str
  video:
    description:
      - Video card, by model such as V(virtio), as a string V(model=virtio,memory=65536,vdi=spice), or as a mapping with
        these keys. Memory is in KiB.
    type: raw
  uefi:
    description: Whether the guest boots by UEFI.
    type: bool
  secureboot:
    description: Whether the guest boots securely, which implies O(uefi).
    type: bool
    aliases: [secure_boot]
  nvram_template:
    description:
      - What the variables of UEFI are initialised from, C(label:name) or C(sf://blob/uuid).
      - A label is not compared later, because what it points to may have moved on since.
    type: str
  configdrive:
    description: Kind of the drive that tells the guest who it is, V(openstack-disk) or V(none).
    type: str
  side_channels:
    description: Channels between the guest and the cloud. An empty list is none.
    type: list
    elements: str
  metadata:
    description:
      - Metadata to be set, by key. A key whose value is null is removed, and one that is not named is left alone.
      - The keys C(tags) and C(affinity) take part in the choice of a node when the instance is made.
    type: dict
  state:
    description: Whether the instance exists. Deleting it deletes its disks, and is always waited for.
    type: str
    choices: [present, absent]
    default: present
  on_change:
    description:
      - What to do if the instance exists and is not as described, or is in error.
      - V(fail) changes nothing and says what is different.
      - V(recreate) deletes the instance with its disks and makes a new one, with what is not described as it was, but for
        MAC addresses, which are new ones. For a MAC address that is described, the task waits until the cloud gives it out
        again, which it does some minutes after it was in use.
    type: str
    choices: [fail, recreate]
    default: fail
  await:
    description: Whether to wait until the instance runs.
    type: bool
    default: false
  await_timeout:
    description: How many seconds the whole task may wait.
    type: int
    default: 600
seealso:
  - module: shakenfist.cloud.sf_network
'''

EXAMPLES = r'''
- name: An instance
  shakenfist.cloud.sf_instance:
    name: web-1
    cpu: 2
    ram: 2048
    disks: ["20@debian:12"]
    networks: [backend]
    ssh_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    await: true
  register: web

- name: Its address
  ansible.builtin.debug:
    msg: "{{ web.meta.interfaces[0].ipv4 }}"

- name: An instance with properties spelt out, replaced if they change
  shakenfist.cloud.sf_instance:
    name: db-1
    cpu: 4
    ram: 8192
    diskspecs:
      - {size: 20, base: "debian:12"}
      - size=200,bus=nvme
    networkspecs:
      - network_uuid=backend,address=10.0.0.5
    side_channels: []
    uefi: true
    user_data: "{{ lookup('ansible.builtin.template', 'db.yaml.j2') | b64encode }}"
    metadata:
      tags: [db]
      affinity:
        require_without_tag: [db]
    on_change: recreate
    await: true

- name: No instance
  shakenfist.cloud.sf_instance:
    name: web-1
    state: absent
'''

RETURN = r'''
meta:
  description:
    - The instance as the API shows it, without RV(ignore:ssh_key) and RV(ignore:user_data). Null when it does not exist.
    - Of an instance that check mode has not made, the description with the UUID V(00000000-0000-0000-0000-000000000000).
  returned: always
  type: dict
  sample:
    uuid: 9cd9ca86-0dd4-4ddd-aa28-822855ea4318
    name: web-1
    namespace: tenant
    state: created
    power_state: "on"
    cpus: 2
    memory: 2048
    node: sf-2
    interfaces:
      - network_uuid: a8a52ac5-49b6-4444-80d0-3ab6573343ad
        macaddr: 02:00:00:2b:5d:10
        ipv4: 10.0.0.7
        order: 0
        model: virtio
        floating:
    metadata: {}
log: {description: "What was done, step by step.",
  returned: always, type: list, elements: str, sample: ["looking for instance web-1", "creating instance web-1"]}
status: {description: "Status with which the API refused a request.", returned: when the API refused a request, type: int, sample: 507}
request_id: {description: "Identifier of the refused request, by which the operator of the cloud finds its log lines and events.",
  returned: when the API refused a request, type: str, sample: 61c5a0a1-5f9e-4a7e-8a9b-3f1f2f7d7c55}
'''

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_objects, sf_specs, sf_task
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import connection_spec, quoted

# Options that the API takes and shows as they are, and what it calls them.
PLAIN = {
    'name': 'name', 'cpu': 'cpus', 'ram': 'memory', 'ssh_key': 'ssh_key', 'user_data': 'user_data', 'uefi': 'uefi',
    'secureboot': 'secure_boot', 'nvram_template': 'nvram_template', 'configdrive': 'configdrive',
    'side_channels': 'side_channels', 'metadata': 'metadata',
}


class Instance(sf_objects.Kind):
    noun = 'instance'
    path = '/instances'
    required = ('name', 'cpu', 'ram', 'disks')
    secret = ('ssh_key', 'user_data')
    what_recreation_costs = ' with its disks'

    def opinions(self, task):
        params = task.params
        asked = {field: params[field] for field in (*PLAIN, 'placement')}
        if params['secureboot'] and params['uefi'] is None:
            asked['uefi'] = True
        try:
            asked['disks'] = _listed(params, ('disks', sf_specs.disk), ('diskspecs', sf_specs.diskspec))
            asked['networks'] = _listed(params, ('networks', _network), ('networkspecs', sf_specs.networkspec))
            asked['video'] = None if params['video'] is None else sf_specs.video(params['video'])
        except sf_specs.BadSpec as error:
            raise sf_task.Failure(str(error)) from error
        for network in asked['networks'] or []:
            network['network_uuid'] = _network_uuid(task, network['network_uuid'])
        return {field: value for field, value in asked.items() if value is not None}

    def current(self, view):
        return {
            **{option: view[field] for option, field in PLAIN.items()},
            'placement': view.get('requested_placement'),
            'disks': view['disk_spec'],
            'networks': [sf_specs.interface(interface) for interface in view['interfaces']],
            'video': view['video'],
        }

    def same(self, field, view, current, asked):
        if field == 'disks':
            return _pairwise(sf_specs.same_disk, current, asked)
        if field == 'networks':
            return _pairwise(sf_specs.same_interface, current, asked)
        if field == 'video':
            return all(current[key] == value for key, value in asked.items())
        if field == 'placement':
            return asked in (view['node'], view['node_uuid'], current)
        if field == 'side_channels':
            return sorted(current) == sorted(asked)
        if field == 'nvram_template':
            blob = asked[len('sf://blob/'):] if asked.startswith('sf://blob/') else asked
            return not sf_objects.is_uuid(blob) or blob.lower() == current
        if field == 'ssh_key':
            return (current or '').strip() == asked.strip()
        if field == 'user_data':
            # Base64 is wrapped or not, with the way in which it was written down.
            return ''.join((current or '').split()) == ''.join(asked.split())
        return current == asked

    def body(self, description):
        body = _plain(description)
        body['disk'] = description['disks']
        body['network'] = description.get('networks')
        body['placed_on'] = description.get('placement')
        if description.get('video'):
            body['video'] = {'memory': sf_specs.VIDEO_MEMORY, **description['video']}
        return body

    def renewed(self, description, asked):
        # The cloud gives a MAC address that was in use to nobody for minutes, so only one that is asked for is kept.
        wishes = asked.get('networks') or [{}] * len(description['networks'])
        kept = [{key: value for key, value in network.items() if key != 'macaddress'} for network in description['networks']]
        return {**description, 'networks': [{**network, **wish} for network, wish in zip(kept, wishes)]}

    def passes(self, error, replaced):
        return error.status == 409 and any(interface['macaddr'] in str(error) for interface in replaced['interfaces'])

    def predicted(self, description):
        interfaces = [
            {'network_uuid': network['network_uuid'], 'ipv4': network.get('address'), 'order': order}
            for order, network in enumerate(description.get('networks') or [])
        ]
        return {**_plain(description), 'disk_spec': description['disks'], 'interfaces': interfaces}

    def remove(self, task, view, wait):
        path = f"/instances/{view['uuid']}"

        def gone():
            now = task.api.find(path)
            if now and now['state'] != 'deleted':
                raise sf_task.NotYet(f"it is still {now['state']}", self.meta(now))

        task.api.delete(path)
        if wait:
            task.until(gone)

    def waits(self, params):
        return params['await']


def _plain(description):
    return {field: description[option] for option, field in PLAIN.items() if description.get(option) is not None}


def _listed(params, *options):
    """The entries of several options as one list; None if none of them is given."""
    given = [(params[option], parse) for option, parse in options if params[option] is not None]
    return [parse(entry) for entries, parse in given for entry in entries] if given else None


def _network(reference):
    return {'network_uuid': reference}


def _network_uuid(task, reference):
    if sf_objects.is_uuid(reference):
        return reference.lower()
    with task.doing(f'looking for network {reference}'):
        found = task.api.find(f'/networks/{quoted(reference)}', namespace=task.namespace)
        # In check mode, an earlier task of the play may be about to make it.
        if not found and not task.check_mode:
            raise sf_task.Failure(f'there is none in the namespace {task.namespace}')
    return found['uuid'] if found else reference


def _pairwise(same, current, asked):
    return len(current) == len(asked) and all(same(*pair) for pair in zip(current, asked))


def main():
    module = AnsibleModule(
        argument_spec={
            **connection_spec(),
            **sf_objects.option_spec(
                cpu={'type': 'int'},
                ram={'type': 'int'},
                disks={'type': 'list', 'elements': 'str'},
                diskspecs={'type': 'list', 'elements': 'raw'},
                networks={'type': 'list', 'elements': 'str'},
                networkspecs={'type': 'list', 'elements': 'raw'},
                ssh_key={'type': 'str', 'no_log': True},
                user_data={'type': 'str', 'no_log': True},
                placement={'type': 'str'},
                video={'type': 'raw'},
                uefi={'type': 'bool'},
                secureboot={'type': 'bool', 'aliases': ['secure_boot']},
                nvram_template={'type': 'str'},
                configdrive={'type': 'str'},
                side_channels={'type': 'list', 'elements': 'str'},
                **{'await': {'type': 'bool', 'default': False}},
                await_timeout={'type': 'int', 'default': 600},
            ),
        },
        required_one_of=[('name', 'uuid')],
        supports_check_mode=True,
    )
    sf_task.run(module, lambda task: sf_objects.ensure(task, Instance()), seconds=module.params['await_timeout'])


if __name__ == '__main__':
    main()
