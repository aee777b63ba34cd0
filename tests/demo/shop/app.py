# A web app that tells what it can see. It knows nothing of mirrord.
import os, socket, threading, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def attempt(fallback, work):
    try:
        return work()
    except OSError:
        return fallback


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        lines = ["the app on this machine"] if self.path == "/who" else [
            "env=" + os.environ.get("GREETING", "not set"),
            "file=" + attempt("not found", lambda: open("/srv/shop/prices.txt").read().strip()),
            "name=" + attempt("not found", lambda: socket.gethostbyname("inventory.shop")),
            "service=" + attempt("cannot be reached", lambda: urllib.request.urlopen("http://inventory.shop/").read().decode()),
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(line + "\n" for line in lines).encode())

        if self.path == "/quit":
            threading.Thread(target=server.shutdown).start()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("", int(os.environ["PORT"])), App)
print("listening", os.environ["PORT"], flush=True)
server.serve_forever()
