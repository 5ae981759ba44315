"""Signs raw requests as the protocols say, for what the SDKs would never send."""

import base64
import datetime
import email.utils
import hashlib
import hmac
import urllib.parse

from server import BLOBS_ACCOUNT, BLOBS_KEY, DOCUMENTS_KEY

BLOBS_VERSION = "2021-12-02"
DOCUMENTS_VERSION = "2020-07-15"


def http_date(days_ahead=0, seconds_ahead=0):
    """The time as RFC 1123 has it, moved ahead for servers whose clock was moved."""
    now = datetime.datetime.now(datetime.timezone.utc)
    moved = now + datetime.timedelta(days=days_ahead, seconds=seconds_ahead)
    return email.utils.format_datetime(moved, usegmt=True)


def hmac_base64(key, text):
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def blob_headers(method, url, headers=None, length=0, key=BLOBS_KEY, days_ahead=0):
    """Headers with a Shared Key signature. `length` is what Content-Length will say."""
    headers = dict(headers or {})
    headers.setdefault("x-ms-version", BLOBS_VERSION)
    headers.setdefault("x-ms-date", http_date(days_ahead))
    lower = {name.lower(): str(value) for name, value in headers.items()}
    parts = urllib.parse.urlsplit(url)
    standard = [
        lower.get("content-encoding", ""), lower.get("content-language", ""),
        str(length) if length else "", lower.get("content-md5", ""),
        lower.get("content-type", ""), "", lower.get("if-modified-since", ""),
        lower.get("if-match", ""), lower.get("if-none-match", ""),
        lower.get("if-unmodified-since", ""), lower.get("range", ""),
    ]
    own = sorted((name, value) for name, value in lower.items() if name.startswith("x-ms-"))
    text = "\n".join([method, *standard]) + "\n"
    text += "".join(f"{name}:{value}\n" for name, value in own)
    text += f"/{BLOBS_ACCOUNT}{parts.path}"
    query = {}
    for name, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        query.setdefault(name.lower(), []).append(value)
    for name in sorted(query):
        text += f"\n{name}:{','.join(sorted(query[name]))}"
    headers["Authorization"] = f"SharedKey {BLOBS_ACCOUNT}:{hmac_base64(key, text)}"
    return headers


def document_headers(method, kind, link, headers=None, key=DOCUMENTS_KEY, days_ahead=0):
    """Headers with a master-key signature for a resource of `kind` at `link`."""
    headers = dict(headers or {})
    date = http_date(days_ahead)
    headers["x-ms-date"] = date
    headers.setdefault("x-ms-version", DOCUMENTS_VERSION)
    text = f"{method.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
    token = f"type=master&ver=1.0&sig={hmac_base64(key, text)}"
    headers["authorization"] = urllib.parse.quote(token, safe="")
    return headers
