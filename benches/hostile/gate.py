"""The program under hostile load: its configuration, its origin, its tokens, and what the kernel and /metrics say of it.

Shared by `slow` and `soak`. Standard library only, loopback only.
"""

import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SECRET = b"hostile-key-hostile-key-hostile-key-01"
REPOSITORY = Path(__file__).resolve().parents[2]


def fail(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def content(size):
    """Bytes of which no two pages are alike."""
    blocks = (hashlib.sha256(at.to_bytes(8, "big")).digest() for at in range(size // 32 + 1))
    return b"".join(blocks)[:size]


FILES = {"small": content(1024), "middle": content(64 * 1024), "large": content(8 * 1024 * 1024)}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(ttl=24 * 3600, secret=SECRET, **claims):
    now = int(time.time())
    head = b64(json.dumps({"alg": "HS256", "kid": "k", "typ": "JWT"}).encode())
    body = {"iss": "soak", "aud": "media", "sub": "s", "iat": now, "exp": now + ttl, "methods": ["GET", "POST"]}
    body = b64(json.dumps(body | claims).encode())
    tag = hmac.new(secret, f"{head}.{body}".encode(), "sha256").digest()
    return f"{head}.{body}.{b64(tag)}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class OriginHandler(BaseHTTPRequestHandler):
    """An HTTP origin that serves the files, swallows uploads, and breaks bodies off below /cut."""

    protocol_version = "HTTP/1.1"
    # One write for a head: otherwise every answer waits for a delayed acknowledgement.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self):
        path = urlsplit(self.path).path
        data = FILES.get(path.rsplit("/", 1)[-1])
        if data is None:
            return self.answer(404, b"")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and int(asked[1]) < len(data):
            first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
            return self.answer(206, data[first : last + 1], f"bytes {first}-{last}/{len(data)}")
        if "/cut/" in path:
            self.close_connection = True
            return self.answer(200, data, sent=len(data) // 2)
        return self.answer(200, data)

    do_HEAD = do_GET

    def do_POST(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, b"taken")

    def answer(self, status, body, content_range=None, sent=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass

    def log_message(self, *_):
        pass


class Origin(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        pass


def serve_origin(port):
    Origin(("127.0.0.1", port), OriginHandler).serve_forever()


class Gate:
    """The release program on free ports, in a folder of its own, with a folder origin and an HTTP origin."""

    def __init__(self, folder, binary, server=""):
        self.port, self.admin, origin = free_port(), free_port(), free_port()
        root = folder / "root"
        root.mkdir()
        for name, data in FILES.items():
            (root / name).write_bytes(data)
        keys = folder / "keys.json"
        keys.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": "k", "k": b64(SECRET)}]}))
        keys.chmod(0o600)
        scheme = '[route.scheme.jwt]\nkeys = "soak"\nissuer = "soak"\naudience = "media"\n'
        config = folder / "proxy.toml"
        config.write_text(
            f'state = "{folder}/state"\n[server]\nlisten = ["127.0.0.1:{self.port}"]\n{server}\n'
            f'[admin]\nlisten = "127.0.0.1:{self.admin}"\n[log]\naccess = "{folder}/access.log"\nlevel = "warn"\n'
            f'[keys.soak]\nfile = "{keys}"\n[origin.disk.folder]\nroot = "{root}"\n'
            f'[origin.web.http]\nurl = "http://127.0.0.1:{origin}"\nidle_timeout = "5s"\ngap_timeout = "5s"\n'
            '[[route]]\nname = "disk"\npath = "/disk"\nstrip_prefix = true\norigin = "disk"\nscope = "whole"\n'
            f'carriers = [{{ query = "t" }}, {{ path_prefix = "~" }}]\n{scheme}'
            '[[route]]\nname = "web"\npath = "/web"\norigin = "web"\nscope = "whole"\nmethods = ["GET", "POST"]\n'
            f'max_upload = "2MiB"\ncarriers = [{{ query = "t" }}, {{ path_prefix = "~" }}]\n{scheme}'
        )
        self.origin = multiprocessing.Process(target=serve_origin, args=(origin,), daemon=True)
        self.origin.start()
        self.log = (folder / "output.log").open("wb")
        self.process = subprocess.Popen(
            [binary, "serve", "--config", config], cwd=folder, stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not (self.ready() and self.accepts(origin)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                fail((folder / "output.log").read_text())
            time.sleep(0.05)

    def ready(self):
        try:
            return b" 200 " in self.admin_get("/readyz")[:20]
        except OSError:
            return False

    @staticmethod
    def accepts(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def admin_get(self, path):
        with socket.create_connection(("127.0.0.1", self.admin), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def metric(self, name, label=""):
        """The sum of all samples of a metric whose labels hold `label`."""
        lines = self.admin_get("/metrics").decode().splitlines()
        lines = [line for line in lines if re.match(re.escape(name) + r"[{ ]", line) and label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def sample(self):
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        mapped = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return {
            "rss": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,
            "anonymous": int(re.search(r"Anonymous:\s+(\d+)", mapped)[1]) / 1024,
            "lazily": int(re.search(r"LazyFree:\s+(\d+)", mapped)[1]) / 1024,
            "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
            "fds": len(os.listdir(f"/proc/{pid}/fd")),
            "connections": int(self.metric("mediagate_connections")),
        }

    def connect(self, timeout=20, receive_buffer=None):
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.origin.terminate()
        return self.process.returncode


class Answers:
    """Answers of one keep-alive connection, framed by Content-Length."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def read(self, no_body=False):
        """Status, headers and body."""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = 0 if no_body else int(headers.get("content-length", 0))
        pieces, got = [self.buffer], len(self.buffer)
        while got < length:
            piece = self.connection.recv(min(length - got, 1 << 20))
            if not piece:
                raise ConnectionError("cut")
            pieces.append(piece)
            got += len(piece)
        data = b"".join(pieces)
        body, self.buffer = data[:length], data[length:]
        return int(lines[0].split(" ")[1]), headers, body

    def more(self):
        piece = self.connection.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        self.buffer += piece


def find_binary(given):
    """The release program: the one that was named, or the one that cargo built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    binary = Path(given) if given else target / "release" / "mediagate"
    if not binary.exists():
        fail(f"{binary} is missing: cargo build --release")
    return binary.resolve()
