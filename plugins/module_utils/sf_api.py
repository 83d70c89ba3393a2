# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""The REST API as modules see it: whom to speak to, how to ask, and what a refusal says."""
from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse

from ansible.module_utils.urls import open_url

ENVIRONMENT = {'api_url': 'SHAKENFIST_API_URL', 'namespace': 'SHAKENFIST_NAMESPACE', 'key': 'SHAKENFIST_KEY'}
# In the order in which the released command line client looks at them.
FILES = ('~/.shakenfist', '/etc/sf/shakenfist.json')

TRIES = 5
# A load balancer that asks for more patience than this is better reported than obeyed.
LONGEST_PAUSE = 60
PASSING = (429, 502, 503)


def connection_spec():
    """Argument specification of the options that every module shares (doc fragment `connection`)."""
    return {
        'api_url': {'type': 'str'},
        'namespace': {'type': 'str'},
        'auth_namespace': {'type': 'str'},
        'key': {'type': 'str', 'no_log': True},
        'ca_path': {'type': 'path'},
        'validate_certs': {'type': 'bool', 'default': True},
        'timeout': {'type': 'int', 'default': 60},
    }


class ConnectionProblem(Exception):
    """Nobody to ask: credentials are missing or incomplete, or nothing that is this API answers."""


class ApiError(Exception):
    """An answer that is a refusal."""

    def __init__(self, status, text, code=None, request_id=None, retry_after=None):
        super().__init__(f"{text} (status {status}, request id {request_id or 'unknown'})")
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


def credentials(params, environ=None, files=FILES):
    """Finds address, namespace and key in the first source that has them, and answers them as a tuple.

    A source is taken as a whole: half of one source is never completed from another, which may belong to another cloud.
    """
    environ = os.environ if environ is None else environ
    for name, source in _sources(params, environ, files):
        api_url, key = source.get('api_url'), source.get('key')
        if not api_url and not key:
            continue
        if not (api_url and key):
            missing = 'key' if api_url else 'api_url'
            raise ConnectionProblem(f'{name} has no {missing}: an address and a key are only used together')
        namespace = params.get('auth_namespace') or source.get('namespace')
        if not namespace:
            raise ConnectionProblem(f'{name} does not say which namespace the key belongs to: set namespace or auth_namespace')
        return api_url, namespace, key
    looked = ', '.join(['the options api_url and key', *ENVIRONMENT.values(), *files])
    raise ConnectionProblem(f'there are no credentials for the API. Looked at: {looked}')


def _sources(params, environ, files):
    yield 'the task', {name: params.get(name) for name in ENVIRONMENT}
    yield 'the environment', {name: environ.get(variable) for name, variable in ENVIRONMENT.items()}
    for path in files:
        yield path, _read(os.path.expanduser(path))


def _read(path):
    try:
        with open(path, encoding='utf-8') as source:
            content = json.load(source)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConnectionProblem(f'{path} cannot be read: {error}') from error
    if not isinstance(content, dict):
        raise ConnectionProblem(f'{path} is not a JSON object with apiurl, namespace and key')
    return {'api_url': content.get('apiurl'), 'namespace': content.get('namespace'), 'key': content.get('key')}


class Api:
    """A session with the API. Passing troubles are waited out; everything else is raised with the words of the API."""

    def __init__(self, params, pause=time.sleep):
        self.url, self.namespace, self._key = credentials(params)
        self.url = self.url.rstrip('/')
        self._validate_certs = params['validate_certs']
        self._ca_path = params.get('ca_path')
        self._timeout = params['timeout']
        self._pause = pause
        self._token = None
        self._has_answered = False
        if not self.url.startswith(('http://', 'https://')):
            raise ConnectionProblem(f'api_url must begin with http:// or https://, not {self.url}')
        if self._ca_path and not os.path.exists(self._ca_path):
            raise ConnectionProblem(f'ca_path {self._ca_path} does not exist on the host that runs this task')

    def get(self, path, **query):
        return self._ask('GET', path, query=query)

    def find(self, path, **query):
        """The object at a path, or None when the API says that there is none."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path, body, landed=None):
        """Creates. A request whose answer was lost may have been carried out: `landed` is called before it is repeated,
        and what it finds stands for the answer. Without `landed`, an answer that was lost is an error."""
        return self._ask('POST', path, body, landed=landed)

    def put(self, path, body):
        return self._ask('PUT', path, body)

    def delete(self, path, **query):
        """Deletes. None says that there is nothing at the path (any more)."""
        try:
            return self._ask('DELETE', path, query=query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def accepts(self, namespace, key):
        """Whether a key opens a namespace."""
        if (namespace, key) == (self.namespace, self._key):
            return True
        try:
            self._persist('POST', '/auth', {'namespace': namespace, 'key': key}, landed=twice_is_once)
        except ApiError as error:
            # 400: no key of such a form exists, so none is accepted; setting it will say what is wrong with it.
            if error.status in (400, 401):
                return False
            raise
        return True

    def _ask(self, method, path, body=None, query=None, landed=None):
        fresh = self._token is None
        if fresh:
            self._log_in()
        query = urllib.parse.urlencode({key: value for key, value in (query or {}).items() if value is not None})
        path = f'{path}?{query}' if query else path
        try:
            return self._persist(method, path, body, landed)
        except ApiError as error:
            # Tokens live for minutes, and a wait may be longer.
            if error.status != 401 or fresh:
                raise
        self._log_in()
        return self._persist(method, path, body, landed)

    def _log_in(self):
        self._token = None
        login = {'namespace': self.namespace, 'key': self._key}
        try:
            self._token = self._persist('POST', '/auth', login, landed=twice_is_once)['access_token']
        except ApiError as error:
            if error.status != 401:
                raise
            raise ConnectionProblem(
                f'{self.url} does not accept the key for the namespace {self.namespace} (request id {error.request_id}). '
                'To work in another namespace than the one the key belongs to, name the latter as auth_namespace'
            ) from error

    def _persist(self, method, path, body, landed):
        """Sends a request until it is answered for good."""
        for attempt in range(1, TRIES + 1):
            if attempt > 1 and landed:
                found = landed()
                if found is not None:
                    return found
            try:
                return self._send(method, path, body)
            except ApiError as error:
                was_refused = error.status == 429
                if error.status not in PASSING or attempt == TRIES or not (was_refused or method != 'POST' or landed):
                    raise
                asked = error.retry_after
            except _Unreachable as error:
                # An address that has never answered is most likely wrong, which nobody wants to wait for.
                if not self._has_answered or attempt == TRIES or (method == 'POST' and not landed):
                    raise ConnectionProblem(f'{self.url} does not answer: {error}') from error
                asked = None
            self._pause(min(asked if asked is not None else 2 ** (attempt - 1), LONGEST_PAUSE))
        raise AssertionError('the last attempt answers or raises')

    def _send(self, method, path, body):
        headers = {'Accept': 'application/json'}
        data = None
        if body is not None:
            headers['Content-Type'] = 'application/json'
            data = json.dumps(body).encode('utf-8')
        if self._token:
            headers['Authorization'] = f'Bearer {self._token}'
        try:
            answer = open_url(
                self.url + path, method=method, data=data, headers=headers, http_agent='shakenfist.cloud (Ansible)',
                timeout=self._timeout, validate_certs=self._validate_certs, ca_path=self._ca_path,
                # A redirect would carry the key to wherever it points; a netrc file would replace the token.
                follow_redirects='none', use_netrc=False,
            )
            text = answer.read()
        except urllib.error.HTTPError as error:
            self._has_answered = True
            raise self._refusal(error) from error
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise _Unreachable(getattr(error, 'reason', None) or error) from error
        self._has_answered = True
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._stranger(answer.status) from error

    def _refusal(self, error):
        if 300 <= error.code < 400:
            return ConnectionProblem(
                f"{self.url} redirects to {error.headers.get('Location')}: set api_url to the address that serves the API"
            )
        try:
            content = json.loads(error.read())
            text = content['error']
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            # What stands in front of the API speaks for itself while the API is away.
            if error.code not in PASSING:
                return self._stranger(error.code)
            content, text = {}, error.reason
        request_id = content.get('request_id') or error.headers.get('X-Request-ID')
        asked = error.headers.get('Retry-After') or ''
        return ApiError(
            error.code, text if isinstance(text, str) else json.dumps(text), content.get('code'), request_id,
            int(asked) if asked.isdigit() else None,
        )

    def _stranger(self, status):
        return ConnectionProblem(
            f'{self.url} answers {status} without the JSON that this API speaks: is api_url the address of the API, '
            'with the prefix under which it is published?'
        )


class _Unreachable(Exception):
    """A request that brought no answer. It may have been carried out."""


def twice_is_once():
    """The `landed` of requests that may be carried out again, because that changes nothing."""


def quoted(name):
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe='')
