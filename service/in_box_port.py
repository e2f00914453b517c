"""The model's port in a box: listens on 127.0.0.1 there, and carries each request out over standard streams.

Python 3.8; sent into the box as text.

Each line of standard output is a request ({"id", "body"}), each line of standard input its answer ({"id", "status",
"body"}).
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List  # noqa: UP035

MAX_BODY = 16 << 20
waiting: Dict[int, List[Any]] = {}  # noqa: UP006  Python 3.8
"""By number: the event that an answer sets, and the answer."""
writing = threading.Lock()


def say(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 < size <= MAX_BODY:
            self.reply(400, {"error": {"message": "the body is missing or too large"}})
            return
        try:
            body = json.loads(self.rfile.read(size))
        except ValueError:
            self.reply(400, {"error": {"message": "the body is not JSON"}})
            return
        answered = threading.Event()
        with writing:
            number = len(waiting) + 1
            waiting[number] = [answered, None]
            say({"id": number, "body": body})
        answered.wait()
        answer = waiting[number][1]
        waiting[number] = [answered, None]
        self.reply(answer["status"], answer["body"])

    def reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
        return


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say({"id": 0, "body": None})
    for line in sys.stdin:
        answer = json.loads(line)
        held = waiting[answer["id"]]
        held[1] = answer
        held[0].set()


if __name__ == "__main__":
    main()
