# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""One run of a module: its log, its time, how it ends."""
from __future__ import annotations

import collections
import contextlib
import time

from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import Api, ApiError, ConnectionProblem

POLL_SECONDS = 1
HIDDEN = '(hidden)'
HIDDEN_CHANGE = '(hidden, another one)'


class Outcome(collections.namedtuple('Outcome', ['changed', 'meta', 'before', 'after'])):
    """How a task ends well: whether it changed something, the object as it is now, and two descriptions for `--diff`."""

    def result(self):
        """What the module returns."""
        return {'changed': self.changed, 'meta': self.meta, 'diff': {'before': self.before, 'after': self.after}}


class Failure(Exception):
    """Why a task cannot be done, in words for the person who wrote it."""

    def __init__(self, message, meta=None):
        super().__init__(message)
        self.meta = meta


class NotYet(Failure):
    """What is waited for has not happened; the message says how far it is."""


class Task:
    """What the parts of a module share while it runs."""

    def __init__(self, module, api, seconds=0):
        self.module = module
        self.params = module.params
        self.check_mode = module.check_mode
        self.api = api
        self.log = []
        self._doing = None
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    @property
    def namespace(self):
        """Where objects live: as said, or where the key belongs."""
        return self.params['namespace'] or self.api.namespace

    @contextlib.contextmanager
    def doing(self, what):
        """Logs a step; a refusal inside is reported as the refusal of this step."""
        self.log.append(what)
        self._doing = what
        yield
        # Not reached by an error, which is then reported as one of this step.
        self._doing = None

    def until(self, probe):
        """Calls `probe` until it answers, within the time of the whole task. It raises NotYet for as long as it has to be
        called again; a 406 says the same, for the API answers it while something is not ready that will be."""
        while True:
            out_of_time = time.monotonic() >= self._deadline
            try:
                return probe()
            except NotYet as wait:
                if out_of_time:
                    raise Failure(f'{wait} after {self._seconds} seconds', wait.meta) from wait
            except ApiError as error:
                if error.status != 406 or out_of_time:
                    raise
            time.sleep(POLL_SECONDS)

    def failed(self, error):
        """Ends the module with what went wrong."""
        more = {'meta': getattr(error, 'meta', None), 'log': self.log}
        for refusal in (error, error.__cause__):
            if isinstance(refusal, ApiError):
                more.update(status=refusal.status, request_id=refusal.request_id)
        self.module.fail_json(msg=f'{self._doing}: {error}' if self._doing else str(error), **more)


def run(module, act, seconds=0):
    """Calls `act` with the task, returns the result it answers, and turns every expected trouble into a message."""
    try:
        api = Api(module.params)
    except ConnectionProblem as error:
        module.fail_json(msg=str(error), meta=None, log=[])
    task = Task(module, api, seconds)
    try:
        result = act(task)
    except (ApiError, ConnectionProblem, Failure) as error:
        task.failed(error)
    module.exit_json(log=task.log, **result)
