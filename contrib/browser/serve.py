"""Shows sessions in a browser while they work: what they say, their states, their questions.

    python3 serve.py [NAME...]     # all sessions without a NAME; then open what it prints
    PORT=9000 python3 serve.py     # instead of 8737

Each page is a `clsess events --sse` that ends with it. It is an example, to be changed; what is to stay: it can
only look, listens on this machine alone, serves nobody but the user who runs it, as clsess itself does, and no
page of somebody else's that has been given this address under another name (DNS rebinding).
"""

import os
import select
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = int(os.environ.get("PORT", "8737"))
HERE = f"127.0.0.1:{PORT}"
PAGE = Path(__file__).with_name("page.html").read_bytes()


class Server(ThreadingHTTPServer):
    def verify_request(self, request, client_address):
        """Whether the other end is this user's: proc(5) has local and remote address and uid of each socket."""
        ends = [f":{client_address[1]:04X}", f":{PORT:04X}"]
        with open("/proc/net/tcp", encoding="ascii") as sockets:
            rows = [row.split() for row in sockets]
        return {row[7] for row in rows if [row[1][-5:], row[2][-5:]] == ends} == {str(os.getuid())}


class Handler(BaseHTTPRequestHandler):
    timeout = 60  # seconds, for who neither asks nor reads; a browser comes back by itself

    def do_GET(self):
        seen = self.headers.get("Last-Event-ID", "0")
        if self.headers.get("Host") != HERE:
            self.send_error(403)
        elif self.path == "/":
            self.begin("text/html; charset=utf-8")
            self.wfile.write(PAGE)
        elif self.path == "/events" and seen.isascii() and seen.isdigit():
            self.events(["clsess", "events", "--sse", "--since", seen, "--", *sys.argv[1:]])
        else:
            self.send_error(404)

    def begin(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def events(self, command):
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            try:
                # Its first words come when it is connected. Without any a browser does not try again.
                piece = os.read(child.stdout.fileno(), 65536)
                self.begin("text/event-stream") if piece else self.send_error(502)
                while piece:
                    self.wfile.write(piece)
                    ready, _, _ = select.select([child.stdout, self.connection], [], [])
                    # A browser has nothing more to say: it has gone.
                    piece = None if self.connection in ready else os.read(child.stdout.fileno(), 65536)
            except OSError:
                pass  # it has gone, too
            finally:
                child.kill()


if __name__ == "__main__":
    with Server(("127.0.0.1", PORT), Handler) as server:
        print(f"http://{HERE}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            os._exit(130)  # what it has started ends by itself: nobody reads it any more
