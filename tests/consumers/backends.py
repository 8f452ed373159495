"""Small HTTP servers that say who they are: what load balancers send traffic to."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def backends(*names):
    """Serve each on a port of its own; yields the ports by name."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _saying(name)) for name in names]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    try:
        ports = [server.server_address[1] for server in servers]
        yield dict(zip(names, ports, strict=True))
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _saying(name):
    class Saying(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_):
            pass

    return Saying
