from __future__ import annotations

import pytest
from ansible_collections.shakenfist.cloud.plugins.plugin_utils.redact import REDACTED, redact


@pytest.mark.parametrize("name", ["sf_mariadb_password", "sf_system_key", "sf_auth_secret_seed", "sf_loki_auth_header", "sf_kek", "access_token", "Authorization"])
def test_texts_of_telling_names_are_hidden_at_any_depth(name):
    assert redact({"a": [{name: "sentinel"}]}) == {"a": [{name: REDACTED}]}
    assert "sentinel" not in str(redact({name: {"inner": ["sentinel"]}}))


@pytest.mark.parametrize("name", ["sf_zone", "sf_mariadb_password_file", "api_token_duration", "sf_system_key_generate", "keys", "monkey"])
def test_other_texts_stay(name):
    assert redact({name: "text"}) == {name: "text"}


def test_numbers_truth_values_and_empty_texts_stay():
    value = {"password": "", "token": 15, "secret": False}
    assert redact(value) == value
