# Stands in for what runs in the pod's network: a service, and the pod's own program.
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(text):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    return server.server_port


print("listening", serve("12 apples, 7 pears in stock"), serve("the pod's own program\n"), flush=True)
