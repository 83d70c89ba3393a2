#!/usr/bin/python
# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r'''
module: sf_namespace
short_description: Create and delete namespaces and their keys
version_added: 0.1.0
author: The Shaken Fist Cloud authors (@shakenfist)
description:
  - Sees to it that a namespace exists with the keys and metadata described, or does not exist.
  - Only C(system) makes and deletes namespaces. A namespace can set keys and metadata of its own.
extends_documentation_fragment: shakenfist.cloud.connection
options:
  name:
    description: Name of the namespace.
    type: str
    required: true
  namespace:
    description: The namespace to authenticate as. The same as O(auth_namespace), which is used if both are given.
    type: str
  keys:
    description:
      - Keys of the namespace, secrets by the name of the key. A secret has 8 to 72 bytes.
      - A key that opens the namespace already is left alone, so that tokens made from it stay valid. Any other is set.
      - A key whose secret is null is removed, and one that is not named is left alone.
    type: dict
  metadata:
    description: Metadata to be set, by key. A key whose value is null is removed, and one that is not named is left alone.
    type: dict
  state:
    description:
      - Whether the namespace exists. The cloud refuses to delete one that has instances or networks.
      - The name of a deleted namespace is free again when its last traces have been removed, by default an hour later.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: shakenfist.cloud.sf_network
'''

EXAMPLES = r'''
- name: A namespace for a tenant, with a key
  shakenfist.cloud.sf_namespace:
    api_url: https://cloud.example.net/api
    namespace: system
    key: "{{ vault_sf_system_key }}"
    name: tenant
    keys:
      deploy: "{{ vault_tenant_key }}"
      former-deploy:
    metadata:
      owner: backend team

- name: No namespace
  shakenfist.cloud.sf_namespace:
    name: tenant
    state: absent
'''

RETURN = r'''
meta:
  description:
    - The namespace as the API shows it, with the names of its keys. Null when it does not exist.
  returned: always
  type: dict
  sample:
    name: tenant
    state: created
    keys: [deploy]
    metadata: {owner: backend team}
    trust: {full: [system]}
log: {description: "What was done, step by step.",
  returned: always, type: list, elements: str, sample: ["looking for namespace tenant", "creating namespace tenant", "setting key deploy of namespace tenant"]}
status: {description: "Status with which the API refused a request.", returned: when the API refused a request, type: int, sample: 403}
request_id: {description: "Identifier of the refused request, by which the operator of the cloud finds its log lines and events.",
  returned: when the API refused a request, type: str, sample: 61c5a0a1-5f9e-4a7e-8a9b-3f1f2f7d7c55}
'''

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_metadata, sf_task
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import ApiError, connection_spec, quoted, twice_is_once

NEW = {'keys': [], 'metadata': {}, 'trust': {'full': ['system']}}


def present(task):
    name, path = task.params['name'], path_of(task)
    keys = task.params['keys'] or {}
    check_secrets(keys)
    found = look(task, name, path)
    view = found or {**NEW, 'name': name, 'state': 'created'}
    if not found and not task.check_mode:
        with task.doing(f'creating namespace {name}'):
            view = create(task, name, path)
    to_set = {key: secret for key, secret in keys.items() if secret is not None and not is_set(task, found, key, secret)}
    to_remove = sorted(key for key, secret in keys.items() if secret is None and key in view['keys'])
    metadata = sf_metadata.wanted(view['metadata'], task.params['metadata'])
    changed = not found or bool(to_set or to_remove) or metadata != view['metadata']
    before = shown(name, view['keys'], [], view['metadata']) if found else {}
    after_keys = sorted(set(view['keys']).difference(to_remove).union(to_set))
    after = shown(name, after_keys, [key for key in to_set if key in view['keys']], metadata)
    if task.check_mode:
        return sf_task.Outcome(changed, {**view, 'keys': after_keys, 'metadata': metadata}, before, after)
    write_keys(task, view, to_set, to_remove)
    if metadata != view['metadata']:
        with task.doing(f'setting the metadata of namespace {name}'):
            sf_metadata.write(task.api, path, view['metadata'], metadata)
    return sf_task.Outcome(changed, task.api.get(path), before, after)


def absent(task):
    name, path = task.params['name'], path_of(task)
    found = look(task, name, path)
    if not found:
        task.log.append('there is no such namespace')
        return sf_task.Outcome(False, None, {}, {})
    if not task.check_mode:
        with task.doing(f'deleting namespace {name}'):
            task.api.delete(path)
    return sf_task.Outcome(True, None, shown(name, found['keys'], [], found['metadata']), {})


def look(task, name, path):
    with task.doing(f'looking for namespace {name}'):
        return task.api.find(path)


def create(task, name, path):
    try:
        return task.api.post('/auth/namespaces', {'namespace': name}, landed=lambda: task.api.find(path))
    except ApiError as error:
        # It was not there a moment ago: either it is now, or it is one of the past.
        if error.status == 403 and 'exists' in str(error) and task.api.find(path) is None:
            raise sf_task.Failure(
                f'{error}. It was deleted, and its name is free again when its last traces have been removed, '
                'by default an hour later'
            ) from error
        raise


def path_of(task):
    return f"/auth/namespaces/{quoted(task.params['name'])}"


def check_secrets(keys):
    """A secret shows whether it opens the namespace, not by which key it does. So no two keys may share one."""
    secrets = [secret for secret in keys.values() if secret is not None]
    wrong = sorted(key for key, secret in keys.items() if not (secret is None or isinstance(secret, str)))
    if wrong:
        raise sf_task.Failure(f"the secret of key {', '.join(wrong)} is not a string: write it in quotes")
    if len(set(secrets)) != len(secrets):
        raise sf_task.Failure('two of the keys have the same secret: give every key one of its own')


def is_set(task, found, key, secret):
    """Whether the namespace has the key, with this secret."""
    return bool(found) and key in found['keys'] and task.api.accepts(found['name'], secret)


def write_keys(task, view, to_set, to_remove):
    name, path = view['name'], f'{path_of(task)}/keys'
    for key, secret in sorted(to_set.items()):
        with task.doing(f'setting key {key} of namespace {name}'):
            if key in view['keys']:
                task.api.put(f'{path}/{quoted(key)}', {'key': secret})
            else:
                task.api.post(path, {'key_name': key, 'key': secret}, landed=twice_is_once)
    for key in to_remove:
        with task.doing(f'removing key {key} of namespace {name}'):
            task.api.delete(f'{path}/{quoted(key)}')


def shown(name, keys, changing, metadata):
    words = {key: sf_task.HIDDEN_CHANGE if key in changing else sf_task.HIDDEN for key in keys}
    return {'name': name, 'keys': words, 'metadata': metadata}


def main():
    module = AnsibleModule(
        argument_spec={
            **connection_spec(),
            'name': {'type': 'str', 'required': True},
            'keys': {'type': 'dict', 'no_log': True},
            'metadata': {'type': 'dict'},
            'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
        },
        supports_check_mode=True,
    )
    act = present if module.params['state'] == 'present' else absent
    sf_task.run(module, lambda task: act(task).result())


if __name__ == '__main__':
    main()
