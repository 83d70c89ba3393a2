from __future__ import annotations

from ansible_collections.shakenfist.cloud.plugins.plugin_utils.names import unknown


def test_a_typing_error_is_told_with_the_nearest_name():
    assert unknown(["sf_zone", "sf_zome", "sf_quux_12345"], ["sf_zone", "sf_ksm"]) == ["sf_quux_12345", "sf_zome (did you mean sf_zone?)"]


def test_known_names_are_not_told():
    assert unknown(["sf_mine"], ["sf_zone", "sf_mine"]) == []
