"""Many files at once, in real playbooks against directories of this machine."""
from __future__ import annotations

import getpass
import grp
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ansible_collections.shakenfist
from ansible.module_utils import basic
from ansible_collections.shakenfist.cloud.plugins.modules import node_files

COLLECTIONS = Path(ansible_collections.shakenfist.__path__[0]).parents[1]
RECAP = re.compile(r'^localhost\s+: ok=\d+\s+changed=(\d+)', re.M)
OURS = {'owner': getpass.getuser(), 'group': grp.getgrgid(os.getgid()).gr_name}


class Site:
    """A playbook with templates, and the directory it works on."""

    def __init__(self, place):
        self.place, self.target = place, place / 'target'
        self.target.mkdir()
        (place / 'templates').mkdir()
        (place / 'templates/unit.j2').write_text('runs {{ item.program }} for {{ owner_of_all }}\n')

    def run(self, files, *options, secret=False):
        """What came of one run: the number of changes, and what was printed."""
        task = {'name': 'Files', 'shakenfist.cloud.node_files': {'files': [{**OURS, **entry} for entry in files]}, 'register': 'outcome'}
        if secret:
            task.update(no_log=True, diff=False)
        said = {'name': 'Say', 'ansible.builtin.debug': {'msg': 'paths: {{ outcome.paths | to_json }}'}}
        play = {'hosts': 'localhost', 'connection': 'local', 'gather_facts': False, 'vars': {'owner_of_all': 'us'}, 'tasks': [task, said]}
        (self.place / 'play.yml').write_text(json.dumps([play]))
        done = subprocess.run(
            [Path(sys.executable).parent / 'ansible-playbook', '-i', 'localhost,', *options, self.place / 'play.yml'],
            env={
                'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'HOME': str(self.place), 'ANSIBLE_HOME': str(self.place / 'ansible'),
                'ANSIBLE_COLLECTIONS_PATH': str(COLLECTIONS), 'ANSIBLE_PYTHON_INTERPRETER': sys.executable, 'ANSIBLE_NOCOLOR': '1',
            },
            capture_output=True, text=True, check=False,
        )
        found = RECAP.search(done.stdout)
        return (int(found[1]) if found and done.returncode == 0 else None), done.stdout + done.stderr


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def wanted(site):
    return [
        {'state': 'directory', 'paths': [f'{site.target}/units', f'{site.target}/units/one.d'], 'mode': '0750'},
        {'template': 'unit.j2', 'paths': {f'{site.target}/units/{name}': {'program': name} for name in ('one', 'two')}},
        {'content': 'text\n', 'paths': [f'{site.target}/plain'], 'mode': '0600'},
        {'state': 'link', 'target': 'plain', 'paths': [f'{site.target}/name']},
        {'state': 'absent', 'paths': [f'{site.target}/old']},
        {'state': 'absent', 'paths': []},
    ]


def test_the_second_run_changes_nothing(site):
    (site.target / 'old').write_text('')
    assert site.run(wanted(site))[0] == 1
    assert (site.target / 'units/two').read_text() == 'runs two for us\n'
    assert (site.target / 'plain').stat().st_mode & 0o777 == 0o600
    assert (site.target / 'units').stat().st_mode & 0o777 == 0o750
    assert os.readlink(site.target / 'name') == 'plain'
    assert not (site.target / 'old').exists()
    before = {path: path.lstat() for path in site.target.rglob('*')}
    changed, said = site.run(wanted(site))
    assert changed == 0, said
    assert 'paths: []' in said
    assert {path: path.lstat().st_mtime_ns for path in site.target.rglob('*')} == {path: was.st_mtime_ns for path, was in before.items()}


def test_only_what_differs_is_written(site):
    site.run(wanted(site))
    (site.target / 'units/two').write_text('mine\n')
    (site.target / 'plain').chmod(0o644)
    untouched = (site.target / 'units/one').stat().st_ino
    changed, said = site.run(wanted(site))
    assert changed == 1, said
    assert (site.target / 'units/two').read_text() == 'runs two for us\n'
    assert (site.target / 'plain').stat().st_mode & 0o777 == 0o600
    assert (site.target / 'units/one').stat().st_ino == untouched


def test_a_check_changes_nothing_and_shows_what_would_change(site):
    changed, said = site.run(wanted(site), '--check', '--diff')
    assert changed == 1, said
    assert '+runs one for us' in said
    assert not list(site.target.iterdir())
    site.run(wanted(site))
    (site.target / 'units/one').write_text('mine\n')
    (site.target / 'units/one').chmod(0o664)
    (site.target / 'plain').chmod(0o644)
    changed, said = site.run(wanted(site), '--check', '--diff')
    assert changed == 1, said
    assert f'--- before: {site.target}/units/one\n' in said and '-mine' in said and '+runs one for us' in said
    assert f'-file 0664 {OURS["owner"]}' in said and f'+file 0644 {OURS["owner"]}' in said
    assert f'-file 0644 {OURS["owner"]}' in said and f'+file 0600 {OURS["owner"]}' in said
    assert (site.target / 'units/one').read_text() == 'mine\n'
    assert (site.target / 'plain').stat().st_mode & 0o777 == 0o644


def test_what_is_found_in_the_place_of_a_file(site):
    (site.target / 'elsewhere').write_text('not ours\n')
    (site.target / 'plain').symlink_to('elsewhere')
    (site.target / 'name').write_text('a package put this here\n')
    assert site.run(wanted(site))[0] == 1
    assert not (site.target / 'plain').is_symlink()
    assert (site.target / 'elsewhere').read_text() == 'not ours\n'
    assert os.readlink(site.target / 'name') == 'plain'


def test_a_text_is_looked_at_before_it_takes_its_place(site):
    def entry(text):
        return [{'content': text, 'paths': [f'{site.target}/checked'], 'validate': 'grep --quiet good %s', 'mode': '0640'}]
    assert site.run(entry('good\n'))[0] == 1
    changed, said = site.run(entry('bad\n'))
    assert changed is None and f'{site.target}/checked: was not accepted' in said, said
    assert [path.name for path in site.target.iterdir()] == ['checked']
    assert (site.target / 'checked').read_text() == 'good\n'
    assert site.run(entry('good again\n'))[0] == 1
    assert (site.target / 'checked').stat().st_mode & 0o777 == 0o640


def test_a_secret_is_shown_by_nothing(site):
    site.run([{'content': 'old-sentinel', 'paths': [f'{site.target}/secret'], 'mode': '0600'}], secret=True)
    changed, said = site.run([{'content': 'new-sentinel', 'paths': [f'{site.target}/secret'], 'mode': '0600'}], '--diff', '-vvv', secret=True)
    assert changed == 1, said
    assert 'sentinel' not in said
    assert (site.target / 'secret').read_text() == 'new-sentinel'


def test_what_is_removed_or_replaced_by_a_link_is_not_shown(site):
    (site.target / 'gone').write_text('sentinel')
    (site.target / 'name').write_text('sentinel')
    changed, said = site.run([
        {'state': 'absent', 'paths': [f'{site.target}/gone']}, {'state': 'link', 'target': 'there', 'paths': [f'{site.target}/name']}
    ], '--diff', '-vvv')
    assert changed == 1 and 'sentinel' not in said, said


def test_no_text_goes_to_the_journal(site, monkeypatch):
    logged = []
    monkeypatch.setattr(basic, 'has_journal', False)
    monkeypatch.setattr(basic.syslog, 'syslog', lambda *said: logged.append(str(said)))
    monkeypatch.setattr(basic, '_ANSIBLE_PROFILE', 'legacy', raising=False)
    text = 'first line\nsentinel\n'
    entry = {**OURS, 'paths': [f'{site.target}/one'], 'checksum': 'of the text'}
    monkeypatch.setattr(basic, '_ANSIBLE_ARGS', json.dumps({'ANSIBLE_MODULE_ARGS': {'files': [entry], 'texts': {'of the text': text}}}).encode())
    with pytest.raises(SystemExit):
        node_files.main()
    assert (site.target / 'one').read_text() == text
    assert any('Invoked with' in line for line in logged)
    assert not any('sentinel' in line for line in logged), logged


def test_nothing_is_left_of_a_text_that_could_not_be_written(site):
    for how in ({'validate': '/no/such/program %s'}, {'owner': 'nobody-of-this-name'}):
        changed, said = site.run([{'content': 'text\n', 'paths': [f'{site.target}/one'], **how}])
        assert changed is None, said
        assert not list(site.target.iterdir())


def test_a_directory_may_be_a_link_to_one(site):
    (site.target / 'real').mkdir(mode=0o755)
    (site.target / 'name').symlink_to('real')
    entry = [{'state': 'directory', 'paths': [f'{site.target}/name'], 'mode': '0700'}]
    assert site.run(entry)[0] == 1
    assert (site.target / 'real').stat().st_mode & 0o777 == 0o700
    assert site.run(entry)[0] == 0
    assert (site.target / 'name').is_symlink()


def test_nothing_is_done_without_the_directory_that_is_asked_for(site):
    entry = [{'content': 'text\n', 'paths': [f'{site.target}/there/file'], 'where_exists': f'{site.target}/there'}]
    assert site.run(entry)[0] == 0
    (site.target / 'there').mkdir()
    assert site.run(entry)[0] == 1


def test_a_template_gets_names_of_its_entry(site):
    entry = [{'template': 'unit.j2', 'vars': {'owner_of_all': 'them'}, 'paths': {f'{site.target}/one': {'program': 'one'}}}]
    assert site.run(entry)[0] == 1
    assert (site.target / 'one').read_text() == 'runs one for them\n'


def test_a_value_is_written_as_json(site):
    entry = [{'json': {'name': '{{ owner_of_all }}', 'level': 3}, 'paths': [f'{site.target}/one']}]
    assert site.run(entry)[0] == 1
    assert (site.target / 'one').read_text() == '{\n  "level": 3,\n  "name": "us"\n}\n'
    assert site.run(entry)[0] == 0


def test_what_an_interrupted_run_left_is_used_up(site):
    (site.target / '.plain.new').write_text('half a te')
    (site.target / '.name.new').symlink_to('somewhere')
    assert site.run(wanted(site))[0] == 1
    assert (site.target / 'plain').read_text() == 'text\n'
    assert sorted(path.name for path in site.target.iterdir()) == ['name', 'plain', 'units']


@pytest.mark.parametrize('entry, message', [
    ({'content': 'text', 'paths': ['{}/taken']}, 'taken: is a directory; move it away'),
    ({'state': 'absent', 'paths': ['{}/taken']}, 'taken: is a directory; move it away'),
    ({'state': 'directory', 'paths': ['{}/a-file']}, 'a-file: is not a directory; move it away'),
    ({'paths': ['{}/plain']}, 'give one of template, content, json'),
    ({'content': 'text', 'template': 'unit.j2', 'paths': ['{}/plain']}, 'give one of template, content, json'),
    ({'content': 'text', 'paths': ['{}/plain'], 'colour': 'red'}, 'Unsupported parameters'),
    ({'content': 'text', 'paths': '{}/plain'}, 'give a list, or a dictionary'),
    ({'content': 'text'}, 'give a list, or a dictionary'),
    ({'template': 'nothing.j2', 'paths': ['{}/plain']}, 'nothing.j2'),
])
def test_what_cannot_be_done_is_refused_before_anything_is_changed(site, entry, message):
    (site.target / 'taken').mkdir()
    (site.target / 'a-file').write_text('kept\n')
    before = sorted(site.target.rglob('*'))
    if isinstance(entry.get('paths'), list):
        entry = {**entry, 'paths': [path.format(site.target) for path in entry['paths']]}
    changed, said = site.run([{'content': 'first\n', 'paths': [f'{site.target}/first']}, entry])
    assert changed is None and message in said, said
    assert sorted(site.target.rglob('*')) == before
