# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""The part of `node_files` that runs on the controller: it renders, asks what differs, and sends only that."""
from __future__ import annotations

import hashlib
import json

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.shakenfist.cloud.plugins.modules.node_files import MODES

MODULE = 'shakenfist.cloud.node_files'
# Where the text of a file comes from.
SOURCES = ('template', 'content', 'json')


class ActionModule(ActionBase):
    """Two executions when something differs, one when nothing does."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if 'files' not in self._task.args:
            raise AnsibleActionFail('files is missing: say what there should be')
        files = [one for entry in self._task.args['files'] for one in self._texts(entry, task_vars)]
        without_texts = [{key: value for key, value in one.items() if key != 'content'} for one in files]
        looked = self._execute_module(module_name=MODULE, module_args={'files': without_texts, 'look': True}, task_vars=task_vars)
        if looked.get('failed'):
            return looked
        differing = [{**one, 'paths': [path]} for one in files for path in one['paths'] if path in looked['paths']]
        if not differing or self._task.check_mode:
            result = looked
        else:
            bare = [{key: value for key, value in one.items() if key != 'content'} for one in differing]
            texts = {one['checksum']: one['content'] for one in differing if 'checksum' in one}
            result = self._execute_module(module_name=MODULE, module_args={'files': bare, 'texts': texts}, task_vars=task_vars)
        if self._task.diff:
            result['diff'] = [_difference(looked['found'][one['paths'][0]], one) for one in differing]
        return result

    def _texts(self, entry, task_vars):
        """What an entry stands for, with the texts and their checksums."""
        paths = entry.get('paths')
        if not isinstance(paths, (list, dict)):
            raise AnsibleActionFail(f'paths is {paths!r}: give a list, or a dictionary from paths to items')
        if entry.get('state', 'file') != 'file':
            yield {**entry, 'paths': list(paths)}
            return
        if sum(source in entry for source in SOURCES) != 1:
            raise AnsibleActionFail(f"{', '.join(paths)}: give one of {', '.join(SOURCES)}")
        plain = {key: value for key, value in entry.items() if key not in (*SOURCES, 'vars')}
        for path in paths:
            if 'template' in entry:
                names = {**entry.get('vars', {}), 'item': paths[path] if isinstance(paths, dict) else None}
                content = self._render(entry['template'], names, task_vars)
            elif 'json' in entry:
                content = json.dumps(entry['json'], indent=2, sort_keys=True) + '\n'
            else:
                # Ansible before 2.19 takes a text for a list or a dictionary when it looks like one.
                content = entry['content'] if isinstance(entry['content'], str) else json.dumps(entry['content'])
            yield {**plain, 'paths': [path], 'content': content, 'checksum': hashlib.sha256(content.encode()).hexdigest()}

    def _render(self, template, names, task_vars):
        lookup = lookup_loader.get('ansible.builtin.template', loader=self._loader, templar=self._templar)
        (text,) = lookup.run([template], variables=_Variables(task_vars), template_vars=names)
        if not isinstance(text, str):
            # Ansible before 2.19 makes a list or a dictionary of a text that looks like one.
            raise AnsibleActionFail(f'{template}: gives {type(text).__name__} and no text')
        return str(text)


class _Variables(dict):
    """The variables of a task. The lookup copies them for each template and adds names; it changes none of the values."""

    def __deepcopy__(self, memo):
        return dict(self)


def _difference(before, wanted):
    path = wanted['paths'][0]
    kind = wanted.get('state', 'file')
    if kind == 'link':
        kind = f"link to {wanted.get('target')}"
    elif kind != 'absent':
        kind = f"{kind} {wanted.get('mode', MODES[kind])} {wanted.get('owner', 'root')}:{wanted.get('group', 'root')}"
    kinds = [f'{before["kind"]}\n', f'{kind}\n']
    texts = [before['text'], wanted.get('content', '')]
    if texts[0] == texts[1]:
        texts = kinds
    elif kinds[0] != kinds[1] and 'absent' not in (before['kind'], kind):
        texts = [one + text for one, text in zip(kinds, texts)]
    return {'before_header': path, 'after_header': path, 'before': texts[0], 'after': texts[1]}
