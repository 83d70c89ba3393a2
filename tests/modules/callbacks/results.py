"""Writes the result of the latest task to a file, as the module gave it."""

DOCUMENTATION = """
name: results
type: notification
short_description: Writes the result of the latest task to a file
description: The file is named by the environment variable SF_RESULTS.
"""

import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results"

    def v2_runner_on_ok(self, result):
        self.write({**result._result, "failed": False})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.write({**result._result, "failed": True})

    def write(self, result):
        with open(os.environ["SF_RESULTS"], "w") as results:
            json.dump(result, results)
