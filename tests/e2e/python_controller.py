#!/usr/bin/env python3
"""A controller that is nothing but webhooks: it labels pods, and converts Trains from one version to the other.

python_controller.py PORT CERTIFICATES
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LABEL = [{"op": "add", "path": "/metadata/labels/labelled", "value": "yes"}]


def admitted(request: Any) -> dict[str, Any]:
    patch = base64.b64encode(json.dumps(LABEL).encode()).decode()
    return {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}


def converted(request: Any) -> dict[str, Any]:
    objects = [entry | {"apiVersion": request["desiredAPIVersion"]} for entry in request["objects"]]
    return {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}


class Hooks(BaseHTTPRequestHandler):
    """Answers AdmissionReviews, ConversionReviews and the question whether it is ready."""

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        make = admitted if review["kind"] == "AdmissionReview" else converted
        self.answer({name: review[name] for name in ("apiVersion", "kind")} | {"response": make(review["request"])})

    def answer(self, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    port, certificates = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Hooks)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(certificates, "tls.crt"), Path(certificates, "tls.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
