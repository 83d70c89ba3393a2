#!/usr/bin/python
# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r'''
module: node_files
short_description: Bring many small files of a host up to date at once
version_added: 0.1.0
author: The Shaken Fist Cloud authors (@shakenfist)
description:
  - Writes files, makes directories and links, and removes what is no longer wanted, in the order of the list.
  - The role P(shakenfist.cloud.node#role) writes some thirty files. A task for each of them would be two executions on the host; this is
    one as long as nothing differs, whatever their number.
  - What differs is named, and shown by C(--diff). A task that writes secrets needs C(no_log) and C(diff=false).
options:
  files:
    description: What there should be.
    type: list
    elements: dict
    required: true
    suboptions:
      paths:
        description:
          - Where. A list of paths, or a dictionary from a path to what the template of that file calls C(item).
          - Without an element, nothing is done.
        type: raw
        required: true
      state:
        description: What is there in the end. Only files and links are removed; a directory in their place is an error.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description: Name of a template of the role, which gives the text of the files.
        type: str
      vars:
        description: Names for the template, worked out once for all files of the entry.
        type: dict
      content:
        description: Text of the files, if there is no template.
        type: str
      json:
        description: Value that the files hold as JSON, if there is neither a template nor a content.
        type: dict
      validate:
        description: Command that accepts a new text by ending well, before it takes its place. C(%s) is the file to look at.
        type: str
      where_exists:
        description: A directory without which nothing is done.
        type: path
      checksum:
        description: SHA-256 of the text. It is worked out and need not be given.
        type: str
      target:
        description: What the links lead to.
        type: str
      owner:
        description: The user whom they belong to.
        type: str
        default: root
      group:
        description: The group that they belong to.
        type: str
        default: root
      mode:
        description: Permissions, in octal digits. V(0644) for files and V(0755) for directories if it is not given.
        type: str
  look:
    description: Only compare. It is used for the first look, which needs no texts.
    type: bool
    default: false
  texts:
    description: Texts by their checksum. They are worked out and need not be given.
    type: dict
attributes:
  check_mode: {support: full, description: Says what would be done and changes nothing.}
  diff_mode: {support: full, description: Shows texts before and after.}
'''

EXAMPLES = r'''
- name: Two units and their target
  shakenfist.cloud.node_files:
    files:
      - template: unit.j2
        paths:
          /etc/systemd/system/one.service: {program: /usr/bin/one}
          /etc/systemd/system/two.service: {program: /usr/bin/two}
      - content: |
          [Unit]
          Description=Both
        paths: [/etc/systemd/system/both.target]
      - state: absent
        paths: [/etc/systemd/system/three.service]
'''

RETURN = r'''
paths:
  description: What differed, in the order of the list.
  returned: always
  type: list
  elements: str
  sample: [/etc/systemd/system/one.service]
found:
  description: What was there of each of these paths. Texts only with C(--diff).
  returned: always
  type: dict
  sample: {/etc/systemd/system/one.service: {kind: absent, text: ""}}
'''

import grp
import os
import pwd

from ansible.module_utils.basic import AnsibleModule

MODES = {'file': '0644', 'directory': '0755'}
# Of a text that is shown. More would be noise.
SHOWN_BYTES = 64 * 1024


class Refused(Exception):
    """Why a path cannot become what it should be."""


def main():
    entry = {
        'paths': {'type': 'raw', 'required': True},
        'state': {'type': 'str', 'choices': ['file', 'directory', 'link', 'absent'], 'default': 'file'},
        'template': {'type': 'str'},
        'vars': {'type': 'dict'},
        'content': {'type': 'str'},
        'json': {'type': 'dict'},
        'validate': {'type': 'str'},
        'where_exists': {'type': 'path'},
        'checksum': {'type': 'str'},
        'target': {'type': 'str'},
        'owner': {'type': 'str', 'default': 'root'},
        'group': {'type': 'str', 'default': 'root'},
        'mode': {'type': 'str'},
    }
    spec = {
        'files': {'type': 'list', 'elements': 'dict', 'required': True, 'options': entry},
        'look': {'type': 'bool', 'default': False},
        # Not among the files: what a module is called with goes to the journal, and only a parameter of its own can be kept out of it.
        'texts': {'type': 'dict', 'no_log': True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.check_mode = module.check_mode or module.params['look']
    found = {}
    for wanted in module.params['files']:
        if wanted['where_exists'] and not os.path.isdir(wanted['where_exists']):
            continue
        for path in wanted['paths']:
            try:
                was = describe(path, module._diff and wanted['state'] == 'file')
                if settle(module, path, wanted):
                    found[path] = was
            except (OSError, Refused) as problem:
                module.fail_json(msg=f'{path}: {problem}', paths=list(found), changed=bool(found), found=found)
    module.exit_json(changed=bool(found), paths=list(found), found=found)


def settle(module, path, wanted):
    """Makes one path what it should be; in a check, only looks. Tells whether it differed."""
    if os.path.isdir(path) and not os.path.islink(path) and wanted['state'] != 'directory':
        raise Refused('is a directory; move it away')
    differed = STATES[wanted['state']](module, path, wanted)
    if wanted['state'] not in MODES or (module.check_mode and differed):
        return differed
    return own(module, path, wanted) or differed


def own(module, path, wanted):
    """Gives a file or a directory its owner, its group and its mode. Tells whether they differed."""
    # A directory may be a link to one elsewhere, whose owner and mode are what counts.
    path = os.path.realpath(path) if wanted['state'] == 'directory' else path
    owned = {'path': path, 'owner': wanted['owner'], 'group': wanted['group'], 'mode': wanted['mode'] or MODES[wanted['state']]}
    return module.set_fs_attributes_if_different(module.load_file_common_arguments(owned), False)


def write(module, path, wanted):
    # A link in its place is replaced: what it leads to is not ours.
    if not os.path.islink(path) and os.path.exists(path) and module.sha256(path) == wanted['checksum']:
        return False
    if module.check_mode:
        return True
    new = beside(path)
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'wb') as file:
            file.write(module.params['texts'][wanted['checksum']].encode())
            file.flush()
            os.fsync(file.fileno())
        if wanted['validate']:
            status, out, err = module.run_command(wanted['validate'].replace('%s', new))
            if status != 0:
                raise Refused(f'was not accepted: {err.strip() or out.strip()}')
        # Before it takes its place, so that nobody else can ever read it.
        own(module, new, wanted)
        os.rename(new, path)
    finally:
        # There is one only if something has failed.
        beside(path)
    return True


def beside(path):
    """A free name in the same directory, which is always the same, so that what an interrupted run left there is used up."""
    name = os.path.join(os.path.dirname(path), f'.{os.path.basename(path)}.new')
    if os.path.lexists(name):
        os.unlink(name)
    return name


def make_directory(module, path, wanted):
    if os.path.isdir(path):
        return False
    if os.path.lexists(path):
        raise Refused('is not a directory; move it away')
    if not module.check_mode:
        os.makedirs(path, mode=0o755)
    return True


def lead(module, path, wanted):
    if os.path.islink(path) and os.readlink(path) == wanted['target']:
        return False
    if not module.check_mode:
        # By a rename, so that there is no moment without the name.
        new = beside(path)
        os.symlink(wanted['target'], new)
        os.rename(new, path)
    return True


def remove(module, path, wanted):
    if not module.check_mode:
        beside(path)
    if not os.path.lexists(path):
        return False
    if not module.check_mode:
        os.unlink(path)
    return True


STATES = {'file': write, 'directory': make_directory, 'link': lead, 'absent': remove}


def describe(path, texts):
    """What is there, as a comparison shows it."""
    if os.path.islink(path):
        return {'kind': f'link to {os.readlink(path)}', 'text': ''}
    if not os.path.lexists(path):
        return {'kind': 'absent', 'text': ''}
    about = os.stat(path)
    kind = 'file' if os.path.isfile(path) else 'directory' if os.path.isdir(path) else 'special file'
    text = ''
    if kind == 'file' and texts:
        with open(path, 'rb') as file:
            text = file.read(SHOWN_BYTES).decode(errors='replace')
    return {'kind': f'{kind} {about.st_mode & 0o7777:04o} {name_of(pwd.getpwuid, about.st_uid)}:{name_of(grp.getgrgid, about.st_gid)}', 'text': text}


def name_of(look_up, number):
    """The name of a user or of a group; the number when there is none."""
    try:
        return look_up(number)[0]
    except KeyError:
        return str(number)


if __name__ == '__main__':
    main()
