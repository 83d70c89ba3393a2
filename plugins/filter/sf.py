"""Filters of the collection. Each is one function of plugin_utils; its documentation stands beside this file."""

from __future__ import annotations

from ansible_collections.shakenfist.cloud.plugins.plugin_utils import binary, checks, daemons, names, redact, yaml_text


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        """The filters by name."""
        return {
            "sf_daemon_set": daemons.daemon_set,
            "sf_elf_machine": binary.elf_machine,
            "sf_failures": checks.failures,
            "sf_redact": redact.redact,
            "sf_report": checks.report,
            "sf_sha256": binary.sha256,
            "sf_unknown": names.unknown,
            "to_sf_yaml": yaml_text.to_sf_yaml,
        }
