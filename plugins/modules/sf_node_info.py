#!/usr/bin/python
# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r'''
module: sf_node_info
short_description: Tell what the cloud knows of its nodes
version_added: 0.1.0
author: The Shaken Fist Cloud authors (@shakenfist)
description:
  - Returns the nodes of the cloud with their roles and their health, and changes nothing.
  - Only C(system) sees nodes.
extends_documentation_fragment: shakenfist.cloud.connection
options:
  name:
    description: Name or UUID of one node. By default, all nodes are returned, and those that were deleted are left out.
    type: str
  namespace:
    description: The namespace to authenticate as. The same as O(auth_namespace), which is used if both are given.
    type: str
attributes:
  diff_mode:
    support: none
'''

EXAMPLES = r'''
- name: All nodes
  shakenfist.cloud.sf_node_info:
    api_url: https://cloud.example.net/api
    namespace: system
    key: "{{ vault_sf_system_key }}"
  register: cloud

- name: Every node takes part
  ansible.builtin.assert:
    that: cloud.nodes | rejectattr('state', 'equalto', 'created') | length == 0
'''

RETURN = r'''
nodes:
  description: The nodes as the API shows them. Empty when there is none of the name.
  returned: success
  type: list
  elements: dict
  sample:
    - uuid: 4f748ef3-05fe-47a3-afd5-ca716302a56b
      name: sf-1
      ip: 10.20.0.11
      state: created
      lastseen: 1795287187.7
      release: 1.0.0
      is_hypervisor: true
      is_network_node: false
      is_database_node: true
      schedulable: true
      degraded: false
log: {description: "What was done, step by step.", returned: always, type: list, elements: str, sample: ["asking for the nodes"]}
status: {description: "Status with which the API refused a request.", returned: when the API refused a request, type: int, sample: 403}
request_id: {description: "Identifier of the refused request, by which the operator of the cloud finds its log lines and events.",
  returned: when the API refused a request, type: str, sample: 61c5a0a1-5f9e-4a7e-8a9b-3f1f2f7d7c55}
'''

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_task
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import connection_spec, quoted


def nodes(task):
    name = task.params['name']
    if name:
        with task.doing(f'asking for node {name}'):
            found = task.api.find(f'/nodes/{quoted(name)}')
            return {'changed': False, 'nodes': [found] if found else []}
    with task.doing('asking for the nodes'):
        return {'changed': False, 'nodes': [node for node in task.api.get('/nodes') if node['state'] != 'deleted']}


def main():
    module = AnsibleModule(argument_spec={**connection_spec(), 'name': {'type': 'str'}}, supports_check_mode=True)
    sf_task.run(module, nodes)


if __name__ == '__main__':
    main()
