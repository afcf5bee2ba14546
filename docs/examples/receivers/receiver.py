#!/usr/bin/env python3
"""A receiver of outboxd's deliveries. Python 3.9 or newer, the standard library only.

    RECEIVER_SECRETS='whsec_...' python3 receiver.py 8090 deliveries.sqlite

RECEIVER_SECRETS has one secret, or two with a space between while a key is changed.

What happens to each request:
  1. The signature has to be one of ours (Standard Webhooks), else 401.
  2. The timestamp has to be within five minutes, else 401: whoever has recorded a
     request cannot send it a day later.
  3. The webhook-id goes into a table, and the effect into the same transaction. A
     delivery comes at least once; one that comes again finds its id, and does nothing.
  4. 200 confirms the delivery. An error of the database is a 500, and outboxd tries again.
"""

import base64
import binascii
import hashlib
import hmac
import os
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 5 * 60  # seconds
LARGEST = 16 << 20  # bytes of a body; outboxd's own limit is 1 MiB unless it was raised


def read_secrets(text):
    """Returns the keys of secrets as outboxd has them: base64, with or without whsec_."""
    keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in text.split()]
    if not keys or not all(keys):
        raise ValueError("RECEIVER_SECRETS has no secret")
    return keys


def is_signed(keys, headers, body):
    """Tells whether one of the signatures was made with one of the keys."""
    identity, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signed = b".".join((identity.encode(), stamp.encode(), body))
    expected = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys]
    for signature in headers.get("webhook-signature", "").split():
        version, _, value = signature.partition(",")
        if version == "v1" and any(hmac.compare_digest(value.encode(), e) for e in expected):
            return True
    return False


def is_recent(headers, now):
    try:
        return abs(now - int(headers.get("webhook-timestamp", ""))) <= TOLERANCE
    except ValueError:
        return False


def open_database(path):
    db = sqlite3.connect(path, timeout=10, isolation_level=None)  # BEGIN is ours
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS seen (webhook_id TEXT PRIMARY KEY, at REAL NOT NULL)")
    db.execute("CREATE TABLE IF NOT EXISTS effects (webhook_id TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL)")
    return db


def take(path, headers, body):
    """Lets a delivery take effect once. Returns False for a repeat."""
    db = open_database(path)  # a thread has a connection of its own
    try:
        db.execute("BEGIN IMMEDIATE")
        first = db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (headers["webhook-id"], time.time())).rowcount == 1
        if first:
            # The effect. Yours goes here.
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", (headers["webhook-id"], headers.get("Outboxd-Event-Type", ""), body))
        db.execute("COMMIT")
        return first
    finally:
        db.close()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    timeout = 60

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if length < 0 or length > LARGEST:
            self.close_connection = True
            return self.answer(413, "a body with a Content-Length of at most %d bytes" % LARGEST)
        body = self.rfile.read(length)
        if not self.headers.get("webhook-id") or not is_signed(self.server.keys, self.headers, body):
            return self.answer(401, "the signature is not valid")
        if not is_recent(self.headers, time.time()):
            return self.answer(401, "the timestamp is not of the last five minutes")
        try:
            first = take(self.server.path, self.headers, body)
        except sqlite3.Error as failure:
            self.log_error("%s", failure)
            return self.answer(500, "try again")
        return self.answer(200, "done" if first else "done before")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # one line for each request is too much


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: receiver.py PORT DATABASE")
    try:
        keys = read_secrets(os.environ.get("RECEIVER_SECRETS", ""))
    except (ValueError, binascii.Error) as mistake:
        sys.exit("RECEIVER_SECRETS has to be one or two secrets in base64: %s" % mistake)
    open_database(sys.argv[2]).close()
    server = Server(("127.0.0.1", int(sys.argv[1])), Receiver)
    server.keys, server.path = keys, sys.argv[2]
    print("listening on http://127.0.0.1:%d" % server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
