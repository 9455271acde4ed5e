"""A user's own model server that fails 15 % of its requests, in a fixed pattern."""

import itertools
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

count = itertools.count()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        bad = next(count) % 20 in {3, 9, 16}
        self.answer(500 if bad else 200, {"error": "a bug"} if bad else {"predictions": [0.1]})

    def answer(self, code, body):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self):
        return self.client_address[0]

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
