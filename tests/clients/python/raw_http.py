"""Requests that no well-behaved client sends: bytes on a socket, and paths sent as they are."""

import http.client
import socket
import urllib.parse

TIMEOUT_SECONDS = 20


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def request(method, url, headers=None, body=None):
    """A request whose path goes out unchanged (other clients resolve `..` themselves)."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def truncated(method, url, headers, announced, sent):
    """Announces `announced` bytes, sends `sent`, and says that there is no more. `None` if the
    server closes the connection without an answer, which is a legal way to refuse."""
    parts = urllib.parse.urlsplit(url)
    head = f"{method} {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head += f"Content-Length: {announced}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), TIMEOUT_SECONDS) as connection:
        connection.sendall(head.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
    if not received:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ", 2)[1]), {}, body)
