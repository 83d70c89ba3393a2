"""The session with the API, against a real HTTP server that answers what the test has written down."""
from __future__ import annotations

import collections
import http.server
import json
import threading

import pytest

from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_api

KEY = 'the-secret-of-the-key'
OPEN = (200, {'access_token': 'token-1'})
Request = collections.namedtuple('Request', ['method', 'path', 'body', 'headers'])


class Script(http.server.BaseHTTPRequestHandler):
    """Answers the next line of the script. None hangs up without an answer."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        length = int(self.headers.get('Content-Length') or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append(Request(self.command, self.path, body, self.headers))
        answer = self.server.script.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, content, *headers = answer
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Script)
    made.requests, made.script = [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def api(server, pauses):
    return sf_api.Api(params(f'http://127.0.0.1:{server.server_address[1]}/'), pause=pauses.append)


def params(api_url=None, key=KEY, namespace='tenant', auth_namespace=None):
    return {
        'api_url': api_url, 'key': key, 'namespace': namespace, 'auth_namespace': auth_namespace, 'ca_path': None,
        'validate_certs': True, 'timeout': 10,
    }


def refused(status, text='no', *headers, **more):
    return (status, {'error': text, 'status': status, 'request_id': 'r-1', **more}, *headers)


def asked(server):
    return [(request.method, request.path) for request in server.requests]


def test_one_token_serves_the_whole_run(api, server):
    server.script = [OPEN, (200, [1]), (200, None)]
    assert api.get('/networks', namespace='a b', all=None) == [1]
    assert api.put('/networks/x/metadata/k', {'value': 2}) is None
    assert asked(server) == [('POST', '/auth'), ('GET', '/networks?namespace=a+b'), ('PUT', '/networks/x/metadata/k')]
    assert server.requests[0].body == {'namespace': 'tenant', 'key': KEY}
    assert [request.headers['Authorization'] for request in server.requests] == [None, 'Bearer token-1', 'Bearer token-1']
    assert server.requests[2].body == {'value': 2}


def test_an_expired_token_is_replaced_once(api, server):
    server.script = [OPEN, (200, []), refused(401), (200, {'access_token': 'token-2'}), (200, [])]
    api.get('/networks')
    api.get('/networks')
    assert server.requests[-1].headers['Authorization'] == 'Bearer token-2'
    server.script = [refused(401), (200, {'access_token': 'token-3'}), refused(401, 'unauthorized')]
    with pytest.raises(sf_api.ApiError) as caught:
        api.get('/networks')
    assert caught.value.status == 401


def test_a_key_that_is_not_accepted_says_where_and_for_whom(api, server):
    server.script = [refused(401)]
    with pytest.raises(sf_api.ConnectionProblem) as caught:
        api.get('/networks')
    assert 'tenant' in str(caught.value) and 'auth_namespace' in str(caught.value) and 'r-1' in str(caught.value)
    assert KEY not in str(caught.value)


def test_passing_troubles_are_waited_out_as_long_as_the_server_asks(api, server, pauses):
    server.script = [
        refused(429, 'too many', ('Retry-After', '7')), OPEN,
        refused(503, 'away', ('Retry-After', '86400')), (502, 'Bad Gateway'), refused(503), (200, 'true'),
    ]
    assert api.get('/networks') is True
    assert pauses == [7, sf_api.LONGEST_PAUSE, 2, 4]


def test_a_trouble_that_does_not_pass_is_reported_with_its_request(api, server, pauses):
    server.script = [OPEN] + [refused(503, 'the database is not reachable')] * sf_api.TRIES
    with pytest.raises(sf_api.ApiError) as caught:
        api.get('/networks')
    assert 'the database is not reachable' in str(caught.value)
    assert caught.value.request_id == 'r-1' and caught.value.status == 503
    assert server.script == [] and len(pauses) == sf_api.TRIES - 1


def test_a_refusal_is_not_repeated_and_keeps_the_words_of_the_api(api, server, pauses):
    server.script = [OPEN, refused(409, 'network is in use by 2 instances', code='in_use')]
    with pytest.raises(sf_api.ApiError, match='network is in use by 2 instances.*409.*r-1') as caught:
        api.delete('/networks/x')
    assert caught.value.code == 'in_use' and pauses == []


def test_what_is_not_there_is_not_a_refusal(api, server):
    server.script = [OPEN, refused(404, 'network not found'), refused(404, 'network not found')]
    assert api.find('/networks/x') is None
    assert api.delete('/networks/x') is None


def test_a_create_whose_answer_was_lost_is_looked_for_before_it_is_repeated(api, server):
    made = {'uuid': 'u-1'}
    server.script = [OPEN, None, (200, made)]
    assert api.post('/networks', {'name': 'n'}, landed=lambda: api.find('/networks/n')) == made
    assert asked(server)[1:] == [('POST', '/networks'), ('GET', '/networks/n')]


def test_a_create_that_did_not_happen_is_repeated(api, server):
    server.script = [OPEN, refused(503), refused(404), (200, {'uuid': 'u-1'})]
    assert api.post('/networks', {'name': 'n'}, landed=lambda: api.find('/networks/n')) == {'uuid': 'u-1'}
    assert asked(server)[1:] == [('POST', '/networks'), ('GET', '/networks/n'), ('POST', '/networks')]


def test_a_create_that_cannot_be_looked_for_is_not_repeated(api, server):
    server.script = [OPEN, (200, []), None]
    api.get('/networks')
    with pytest.raises(sf_api.ConnectionProblem, match='does not answer'):
        api.post('/networks', {'name': 'n'})
    assert server.script == []


def test_a_connection_that_breaks_is_tried_again_but_a_wrong_address_is_not(api, server, pauses):
    server.script = [OPEN, (200, []), None, None, (200, [])]
    api.get('/networks')
    api.get('/networks')
    assert pauses == [1, 2]
    with pytest.raises(sf_api.ConnectionProblem, match='does not answer.*refused'):
        sf_api.Api(params('http://127.0.0.1:1'), pause=pauses.append).get('/networks')
    assert pauses == [1, 2]


def test_a_redirect_is_not_followed_with_a_key_in_hand(api, server):
    server.script = [(301, '', ('Location', 'https://elsewhere.example.net/'))]
    with pytest.raises(sf_api.ConnectionProblem, match='redirects to https://elsewhere.example.net/: set api_url'):
        api.get('/networks')
    assert len(server.requests) == 1


@pytest.mark.parametrize('answer', [(200, '<html>'), (404, 'nothing here'), (500, '{"message": "x"}'), (404, '[]')])
def test_something_else_than_the_api_is_never_taken_for_an_answer(api, server, answer):
    server.script = [OPEN, answer]
    with pytest.raises(sf_api.ConnectionProblem, match='is api_url the address of the API'):
        api.find('/networks/x')


def test_whether_a_key_opens_a_namespace(api, server):
    server.script = [OPEN, refused(401), refused(400, 'key: too short')]
    assert api.accepts('other', 'good')
    assert not api.accepts('other', 'bad')
    assert not api.accepts('other', 'short')
    assert api.accepts('tenant', KEY) and len(server.requests) == 3


@pytest.mark.parametrize('given, words', [
    ({'key': None, 'api_url': 'http://x'}, 'the task has no key'),
    ({'api_url': None}, 'the task has no api_url'),
    ({'api_url': 'http://x', 'namespace': None}, 'which namespace'),
])
def test_half_of_the_credentials_is_an_error(given, words):
    complete = {'SHAKENFIST_API_URL': 'http://other', 'SHAKENFIST_KEY': 'k', 'SHAKENFIST_NAMESPACE': 'n'}
    with pytest.raises(sf_api.ConnectionProblem, match=words):
        sf_api.credentials({**params(), **given}, complete, ())


def test_the_first_complete_source_is_used(tmp_path):
    nothing = {**params(), 'key': None, 'namespace': 'somewhere'}
    home, system = tmp_path / 'home', tmp_path / 'system'
    system.write_text(json.dumps({'apiurl': 'http://system', 'namespace': 'system', 'key': 's'}))
    files = (str(home), str(system))
    assert sf_api.credentials(nothing, {}, files) == ('http://system', 'system', 's')
    home.write_text(json.dumps({'apiurl': 'http://home', 'namespace': 'me', 'key': 'h'}))
    assert sf_api.credentials(nothing, {}, files) == ('http://home', 'me', 'h')
    environ = {'SHAKENFIST_API_URL': 'http://env', 'SHAKENFIST_KEY': 'e', 'SHAKENFIST_NAMESPACE': 'env'}
    assert sf_api.credentials(nothing, environ, files) == ('http://env', 'env', 'e')
    assert sf_api.credentials({**nothing, 'auth_namespace': 'admin'}, environ, files) == ('http://env', 'admin', 'e')
    assert sf_api.credentials(params('http://task'), environ, files) == ('http://task', 'tenant', KEY)
    with pytest.raises(sf_api.ConnectionProblem, match='the environment has no key'):
        sf_api.credentials(nothing, {**environ, 'SHAKENFIST_KEY': ''}, files)


def test_nothing_to_be_found_says_where_was_looked(tmp_path):
    with pytest.raises(sf_api.ConnectionProblem, match='SHAKENFIST_API_URL.*nofile'):
        sf_api.credentials({**params(), 'key': None}, {}, (str(tmp_path / 'nofile'),))
    broken = tmp_path / 'broken'
    broken.write_text('{')
    with pytest.raises(sf_api.ConnectionProblem, match='broken cannot be read'):
        sf_api.credentials({**params(), 'key': None}, {}, (str(broken),))


@pytest.mark.parametrize('url', ['cloud.example.net', 'ftp://cloud'])
def test_an_address_is_one_of_the_web(url):
    with pytest.raises(sf_api.ConnectionProblem, match='http'):
        sf_api.Api(params(url))


def test_a_missing_file_of_authorities_is_named():
    with pytest.raises(sf_api.ConnectionProblem, match='/no/such/file does not exist'):
        sf_api.Api({**params('https://x'), 'ca_path': '/no/such/file'})
