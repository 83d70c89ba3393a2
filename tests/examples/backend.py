"""A stand-in for sf-api behind a load balancer: says what reached it, and does what a test tells it."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Backend:
    """One node of the pool."""

    def __init__(self, name, port=0):
        self.name = name
        self.ready = True
        # Requests other than those for health, in the order of their arrival.
        self.seen = []
        # A slow answer stops in the middle until this is set; a slow upload tells here that its beginning arrived.
        self.finish, self.arrived = threading.Event(), threading.Event()
        self.connections = set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                backend.connections.add(self.request)
                super().setup()

            def finish(self):
                backend.connections.discard(self.request)
                super().finish()

            def log_message(self, *_):
                pass

            def do_GET(self):
                if self.path == "/readyz":
                    self.answer(200 if backend.ready else 503)
                elif self.path == "/slow":
                    self.slow()
                else:
                    self.note()

            def do_POST(self):
                self.note()

            def note(self):
                length = int(self.headers.get("Content-Length", 0))
                if length:
                    first = self.rfile.read(1)
                    backend.arrived.set()
                    length = len(first) + len(self.rfile.read(length - 1))
                said = {"node": backend.name, "method": self.command, "path": self.path, "length": length, "headers": dict(self.headers)}
                backend.seen.append(said)
                self.answer(503 if self.path == "/busy" else 200, json.dumps(said).encode())

            def slow(self):
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"a")
                self.wfile.flush()
                backend.finish.wait(60)
                self.wfile.write(b"b")

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Nobody listens any more, and who was connected is not."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            connection.shutdown(socket.SHUT_RDWR)
