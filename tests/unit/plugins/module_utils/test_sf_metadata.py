"""What becomes of metadata."""
from __future__ import annotations

import pytest

from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_metadata


@pytest.mark.parametrize('existing, asked, after', [
    ({'a': 1}, None, {'a': 1}),
    ({'a': 1}, {}, {'a': 1}),
    ({'a': 1}, {'b': [2]}, {'a': 1, 'b': [2]}),
    ({'a': 1}, {'a': '1'}, {'a': '1'}),
    ({'a': 1, 'b': 2}, {'a': None, 'c': None}, {'b': 2}),
])
def test_wanted(existing, asked, after):
    assert sf_metadata.wanted(existing, asked) == after


class Recorder:
    def __init__(self):
        self.calls = []

    def put(self, path, body):
        self.calls.append((path, body['value']))

    def delete(self, path):
        self.calls.append((path,))


def test_only_differences_are_written():
    api = Recorder()
    sf_metadata.write(api, '/networks/n', {'same': 1, 'gone': 2, 'type': 1}, {'same': 1, 'type': '1', 'a/b': {}})
    assert api.calls == [('/networks/n/metadata/a%2Fb', {}), ('/networks/n/metadata/gone',), ('/networks/n/metadata/type', '1')]
