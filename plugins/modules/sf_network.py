#!/usr/bin/python
# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r'''
module: sf_network
short_description: Create and delete networks
version_added: 0.1.0
author: The Shaken Fist Cloud authors (@shakenfist)
description:
  - Sees to it that a virtual network exists and is as described, or does not exist.
  - A network is not changed in place. O(on_change) says what happens to one that is not as described.
  - An option that is left out is no opinion. It is decided by the cloud when the network is made, and not compared later.
extends_documentation_fragment: shakenfist.cloud.connection
options:
  name:
    description: Name of the network. It identifies the network, unless O(uuid) is given as well.
    type: str
  uuid:
    description:
      - UUID of the network. If there is none with this UUID, O(name) is looked for.
    type: str
  netblock:
    description: IPv4 addresses of the network, such as V(10.0.0.0/24). Needed to make one.
    type: str
  nat:
    description: Whether instances reach the outside through the network.
    type: bool
  dhcp:
    description: Whether instances get their addresses by DHCP.
    type: bool
  dns:
    description: Whether the network answers for the names of its instances.
    type: bool
  metadata:
    description: Metadata to be set, by key. A key whose value is null is removed, and one that is not named is left alone.
    type: dict
  state:
    description: Whether the network exists.
    type: str
    choices: [present, absent]
    default: present
  on_change:
    description:
      - What to do if the network exists and is not as described, or is in error.
      - V(fail) changes nothing and says what is different.
      - V(recreate) deletes the network and makes a new one, with what is not described as it was. The cloud refuses to
        delete a network that instances use.
    type: str
    choices: [fail, recreate]
    default: fail
  wait:
    description: Whether to wait until the network can be used, or until it is gone.
    type: bool
    default: true
  wait_timeout:
    description: How many seconds the whole task may wait.
    type: int
    default: 300
seealso:
  - module: shakenfist.cloud.sf_instance
'''

EXAMPLES = r'''
- name: A network with DHCP and a way out
  shakenfist.cloud.sf_network:
    name: backend
    netblock: 10.0.0.0/24
  register: backend

- name: The same in the namespace of a tenant, with the key of the administrator
  shakenfist.cloud.sf_network:
    api_url: https://cloud.example.net/api
    auth_namespace: system
    key: "{{ vault_sf_system_key }}"
    namespace: tenant
    name: backend
    netblock: 10.0.0.0/24
    nat: false

- name: No network
  shakenfist.cloud.sf_network:
    uuid: "{{ backend.meta.uuid }}"
    state: absent
'''

RETURN = r'''
meta:
  description:
    - The network as the API shows it. Null when it does not exist.
    - Of a network that check mode has not made, the description with the UUID V(00000000-0000-0000-0000-000000000000).
  returned: always
  type: dict
  sample:
    uuid: a8a52ac5-49b6-4444-80d0-3ab6573343ad
    name: backend
    namespace: tenant
    state: created
    netblock: 10.0.0.0/24
    provide_dhcp: true
    provide_nat: true
    provide_dns: false
    floating_gateway: 203.0.113.5
    metadata: {}
log: {description: "What was done, step by step.",
  returned: always, type: list, elements: str, sample: ["looking for network backend", "creating network backend"]}
status: {description: "Status with which the API refused a request.", returned: when the API refused a request, type: int, sample: 409}
request_id: {description: "Identifier of the refused request, by which the operator of the cloud finds its log lines and events.",
  returned: when the API refused a request, type: str, sample: 61c5a0a1-5f9e-4a7e-8a9b-3f1f2f7d7c55}
'''

import ipaddress

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_objects, sf_task
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import connection_spec

# Names of options, and what the API calls them.
SERVICES = {'nat': 'provide_nat', 'dhcp': 'provide_dhcp', 'dns': 'provide_dns'}


class Network(sf_objects.Kind):
    noun = 'network'
    path = '/networks'
    required = ('name', 'netblock')

    def opinions(self, task):
        asked = {field: task.params[field] for field in ('name', 'netblock', *SERVICES, 'metadata')}
        return {field: value for field, value in asked.items() if value is not None}

    def current(self, view):
        services = {option: view[field] for option, field in SERVICES.items()}
        return {'name': view['name'], 'netblock': view['netblock'], **services, 'metadata': view['metadata']}

    def same(self, field, view, current, asked):
        return block(current) == block(asked) if field == 'netblock' else current == asked

    def body(self, description):
        services = {field: description[option] for option, field in SERVICES.items() if option in description}
        return {'name': description['name'], 'netblock': description['netblock'], **services}

    def predicted(self, description):
        return {**self.body(description), 'metadata': description['metadata']}

    def remove(self, task, view, wait):
        # Of a network that is being deleted already, this answers the operation that does it.
        operation = task.api.delete(f"/networks/{view['uuid']}")
        if operation and wait:
            task.until(lambda: finished(task.api, operation))

    def waits(self, params):
        return params['wait']

    def waits_for_removal(self, params):
        return params['wait']


def block(text):
    """Addresses of a network, whichever of them it is named by."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise sf_task.Failure(f'netblock: {error}') from error


def finished(api, operation):
    """Returns when an operation has succeeded."""
    now = api.get(f"/clusteroperations/{operation['op_type']}/{operation['op_uuid']}")
    if now['state'] in ('queued', 'executing'):
        raise sf_task.NotYet(f"the operation {now['uuid']} is still {now['state']}")
    if now['state'] != 'complete':
        raise sf_task.Failure(f"the operation {now['uuid']} ended in {now['state']}: {(now['error'] or {}).get('message')}")


def main():
    module = AnsibleModule(
        argument_spec={
            **connection_spec(),
            **sf_objects.option_spec(
                netblock={'type': 'str'},
                nat={'type': 'bool'},
                dhcp={'type': 'bool'},
                dns={'type': 'bool'},
                wait={'type': 'bool', 'default': True},
                wait_timeout={'type': 'int', 'default': 300},
            ),
        },
        required_one_of=[('name', 'uuid')],
        supports_check_mode=True,
    )
    sf_task.run(module, lambda task: sf_objects.ensure(task, Network()), seconds=module.params['wait_timeout'])


if __name__ == '__main__':
    main()
