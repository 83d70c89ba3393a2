from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shakenfist.cloud.plugins.plugin_utils.daemons import daemon_set


def daemon(name, roles, requires=()):
    return {"name": name, "roles": list(roles), "requires": list(requires)}


TABLE = [
    daemon("net-privexec", ["hypervisor", "network"]),
    daemon("net", ["hypervisor", "network"], ["net-privexec"]),
    daemon("api", ["api"]),
    daemon("resources", ["api", "hypervisor", "network", "database"]),
    daemon("database", ["database"]),
]


@pytest.mark.parametrize("roles, expected", [
    ([], []),
    (["database"], ["resources", "database"]),
    (["network"], ["net-privexec", "net", "resources"]),
    (["api", "network"], ["net-privexec", "net", "api", "resources"]),
])
def test_the_set_is_the_union_over_the_roles_in_the_order_of_the_table(roles, expected):
    assert daemon_set(roles, [], [], TABLE) == expected


def test_daemons_are_added_and_removed_under_either_name():
    assert daemon_set(["database"], ["sf-api"], ["resources"], TABLE) == ["api", "database"]


def test_every_problem_is_said_at_once():
    with pytest.raises(AnsibleFilterError) as refused:
        daemon_set(["network"], ["apl", "api"], ["net-privexec", "api", "cleaner"], TABLE)
    said = str(refused.value)
    assert "sf-net needs sf-net-privexec" in said
    assert "sf_daemons_add: there is no daemon apl" in said
    assert "sf_daemons_remove: there is no daemon cleaner" in said
    assert "api: named in sf_daemons_add and in sf_daemons_remove" in said
