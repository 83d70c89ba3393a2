"""Requests that the released client would never send."""

import json
import urllib.error
import urllib.request


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.text = body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.text)


def ask(cloud, method, path, body=None, token=None, headers=None):
    """Sends bytes, or anything else as JSON, and answers whatever comes back."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(cloud.url + path, data=data, method=method, headers=dict(headers or {}))
    if token:
        request.add_header("Authorization", token)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def token_of(client):
    """The Authorization header of a client that has made a call."""
    client.get_networks()
    return client.cached_auth
