"""Bearer tokens, roles and user delegation SAS, with azure-storage-blob over TLS."""

import base64
import contextlib
import datetime
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid

import pytest
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from server import BLOBS_ACCOUNT, BLOBS_KEY

# Of `serve` without Platform Storage: blobs, documents, admin.
LISTENERS = 3
NOBODY = "00000000-0000-4000-8000-00000000000f"


class Credential:
    """A token that never changes; remembers for what it was asked."""

    def __init__(self, token):
        self.token = token
        self.asked = []

    def get_token(self, *scopes, **named):
        self.asked.append((scopes, named.get("tenant_id")))
        return AccessToken(self.token, int(time.time()) + 3600)


def hours(number):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=number)


def by_key(url, account, authority):
    return BlobServiceClient(url, credential={"account_name": account, "account_key": BLOBS_KEY},
                             connection_verify=authority, retry_total=0)


def refused(action, *arguments, **named):
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.error_code


@pytest.fixture
def token(endpoints):
    def get(who, query=""):
        answer = requests.get(f"{endpoints.platform}/Home/GetTestStorageToken/{who}{query}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.text
    return get


@pytest.fixture
def service(endpoints, token):
    """Clients of principals, by their roles."""
    made = []

    def make(who, query=""):
        client = BlobServiceClient(endpoints.tls("blobs"), credential=Credential(token(who, query)),
                                   connection_verify=endpoints.ready["ca"], retry_total=0)
        made.append(client)
        return client
    yield make
    for client in made:
        client.close()


def test_roles(service, blob_container):
    name = blob_container.container_name
    contributor = service("contributor").get_container_client(name)
    contributor.upload_blob("a", b"content", metadata={"k": "v"})
    reader = service("reader").get_container_client(name)
    assert reader.download_blob("a").readall() == b"content"
    assert [blob.name for blob in reader.list_blobs()] == ["a"]
    mismatch = (403, "AuthorizationPermissionMismatch")
    assert refused(reader.upload_blob, "b", b"x") == mismatch
    assert refused(reader.delete_blob, "a") == mismatch
    assert refused(contributor.get_blob_client("a").get_blob_tags) == mismatch
    owner = service("owner").get_container_client(name)
    owner.get_blob_client("a").set_blob_tags({"t": "1"})
    assert owner.get_blob_client("a").get_blob_tags() == {"t": "1"}
    for who in ("delegator", NOBODY):
        stranger = service(who).get_container_client(name)
        assert refused(stranger.download_blob, "a") == mismatch
    # The batch's parts carry tokens of their own, and no version.
    contributor.upload_blob("b", b"x")
    assert [answer.status_code for answer in contributor.delete_blobs("a", "b")] == [202, 202]


def test_containers_by_roles(service):
    name = f"roles-{uuid.uuid4().hex[:12]}"
    contributor, reader = service("contributor"), service("reader")
    container = contributor.create_container(name)
    assert name in [found.name for found in reader.list_containers()]
    assert refused(reader.get_container_client(name).delete_container)[0] == 403
    assert refused(container.get_container_access_policy)[0] == 403
    lease = container.acquire_lease(15)
    lease.release()
    container.delete_container()


def test_what_is_wrong_with_a_token_is_challenged(service):
    for who, query in (("owner", "?ttlSeconds=-10"), ("owner", "?resource=https://vault.azure.net")):
        client = service(who, query)
        with pytest.raises(ClientAuthenticationError) as caught:
            list(client.list_containers())
        assert (caught.value.status_code, caught.value.error_code) == (401, "InvalidAuthenticationInfo")
        # The client has read the challenge and asked once more, for what it names.
        asked = client.credential.asked
        assert asked[-1] == (("https://storage.azure.com/.default",), "11111111-1111-4111-8111-111111111111")
        assert len(asked) == 2


def test_a_token_is_refused_without_tls(endpoints, token):
    headers = {"Authorization": f"Bearer {token('owner')}", "x-ms-version": "2024-11-04"}
    answer = requests.get(f"{endpoints.blobs_account}/?comp=list", headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
    answer = requests.get(f"{endpoints.tls('blobs')}/?comp=list", headers=headers, timeout=20,
                          verify=endpoints.ready["ca"])
    assert answer.status_code == 200
    # A token for Platform Storage is signed with the same key, and opens nothing here.
    other = requests.get(f"{endpoints.platform}/Home/GetTestOrgToken/ttd", timeout=20).text
    answer = requests.get(f"{endpoints.tls('blobs')}/?comp=list", timeout=20, verify=endpoints.ready["ca"],
                          headers={**headers, "Authorization": f"Bearer {other}"})
    assert answer.status_code == 401
    assert "Bearer authorization_uri=https://" in answer.headers["WWW-Authenticate"]


def test_a_managed_identity_gives_the_token(endpoints):
    answer = requests.get(f"{endpoints.platform}/Home/Identity/reader", timeout=20,
                          params={"api-version": "2019-08-01", "resource": "https://storage.azure.com"}).json()
    assert answer["token_type"] == "Bearer" and int(answer["expires_on"]) > time.time()
    headers = {"Authorization": f"Bearer {answer['access_token']}", "x-ms-version": "2024-11-04"}
    listed = requests.get(f"{endpoints.tls('blobs')}/?comp=list", headers=headers, timeout=20,
                          verify=endpoints.ready["ca"])
    assert listed.status_code == 200


def test_user_delegation_sas(endpoints, service, blob_container):
    name = blob_container.container_name
    blob_container.upload_blob("a", b"content")
    key = service("reader").get_user_delegation_key(hours(-1), hours(24))
    sas = generate_blob_sas(BLOBS_ACCOUNT, name, "a", user_delegation_key=key,
                            permission=BlobSasPermissions(read=True, write=True), expiry=hours(1),
                            content_type="text/plain")
    # A signature, unlike a token, may go without TLS, as the account's own may.
    blob = BlobClient(endpoints.blobs_account, name, "a", credential=sas)
    download = blob.download_blob()
    assert download.readall() == b"content"
    assert download.properties.content_settings.content_type == "text/plain"
    # The signature says w, its signer's role doesn't.
    assert refused(blob.upload_blob, b"x", overwrite=True) == (403, "AuthorizationPermissionMismatch")
    other = BlobClient(endpoints.blobs_account, name, "b", credential=sas)
    assert refused(other.download_blob) == (403, "AuthenticationFailed")
    key = service("contributor").get_user_delegation_key(hours(-1), hours(24))
    sas = generate_container_sas(BLOBS_ACCOUNT, name, user_delegation_key=key, expiry=hours(1),
                                 permission=ContainerSasPermissions(read=True, write=True, list=True, delete=True))
    container = ContainerClient(endpoints.blobs_account, name, credential=sas)
    container.upload_blob("b", b"x")
    assert [found.name for found in container.list_blobs()] == ["a", "b"]
    container.delete_blob("b")
    snapshot = blob_container.get_blob_client("a").create_snapshot()["snapshot"]
    sas = generate_blob_sas(BLOBS_ACCOUNT, name, "a", snapshot=snapshot, user_delegation_key=key,
                            permission="r", expiry=hours(1))
    of_snapshot = BlobClient(endpoints.blobs_account, name, "a", snapshot=snapshot, credential=sas)
    assert of_snapshot.download_blob().readall() == b"content"
    # Nobody but a principal gets a key.
    assert refused(service(NOBODY).get_user_delegation_key, hours(-1), hours(1)) == \
        (403, "AuthorizationPermissionMismatch")
    assert refused(service("reader").get_user_delegation_key, hours(-1), hours(24 * 8)) == \
        (400, "InvalidXmlNodeValue")


def test_a_signature_for_one_user_and_one_request(endpoints, service, token, blob_container):
    name = blob_container.container_name
    blob_container.upload_blob("a", b"content")
    key = service("reader").get_user_delegation_key(hours(-1), hours(24))
    sas = generate_blob_sas(BLOBS_ACCOUNT, name, "a", user_delegation_key=key, permission="r", expiry=hours(1),
                            user_delegation_oid=NOBODY)
    url = f"{endpoints.tls('blobs')}/{name}/a?{sas}"

    def ask(headers):
        return requests.get(url, headers=headers, verify=endpoints.ready["ca"], timeout=20)

    version = {"x-ms-version": "2026-04-06"}
    assert ask(version).status_code == 403
    assert ask({**version, "Authorization": f"Bearer {token('owner')}"}).status_code == 403
    assert ask({**version, "Authorization": f"Bearer {token(NOBODY)}"}).content == b"content"
    sas = generate_blob_sas(BLOBS_ACCOUNT, name, "a", user_delegation_key=key, permission="r", expiry=hours(1),
                            request_headers={"x-ms-client-request-id": "one"},
                            request_query_params={"timeout": "30"})
    url = f"{endpoints.tls('blobs')}/{name}/a?{sas}"
    assert ask({"x-ms-client-request-id": "one"}).status_code == 403
    url += "&timeout=30"
    assert ask({"x-ms-client-request-id": "one"}).content == b"content"
    assert ask({"x-ms-client-request-id": "two"}).status_code == 403


def test_copies_with_a_token_for_the_source(endpoints, service, token, blob_container):
    name = blob_container.container_name
    blob_container.upload_blob("a", b"content")
    source = f"{endpoints.tls('blobs')}/{name}/a"
    owner = service("owner").get_container_client(name)
    owner.get_blob_client("own").upload_blob_from_url(source)
    assert owner.download_blob("own").readall() == b"content"
    # The account's key writes, the token reads; over TLS, as the token is in the request.
    writer = by_key(endpoints.tls("blobs"), BLOBS_ACCOUNT, endpoints.ready["ca"]).get_container_client(name)
    reader = f"Bearer {token('reader')}"
    for target, action in {
        "copied": lambda blob: blob.start_copy_from_url(source, requires_sync=True, source_authorization=reader),
        "put": lambda blob: blob.upload_blob_from_url(source, source_authorization=reader),
        "blocks": lambda blob: (blob.stage_block_from_url("MDAx", source, source_authorization=reader),
                                blob.commit_block_list([BlobBlock("MDAx")])),
        "appended": lambda blob: (blob.create_append_blob(),
                                  blob.append_block_from_url(source, 0, 7, source_authorization=reader)),
    }.items():
        blob = writer.get_blob_client(target)
        action(blob)
        assert blob.download_blob().readall() == b"content", target
    pages = writer.get_blob_client("pages")
    pages.create_page_blob(512)
    pages.upload_page(b"p" * 512, 0, 512)
    copy = writer.get_blob_client("pages-copy")
    copy.create_page_blob(512)
    page_source = f"{endpoints.tls('blobs')}/{name}/pages"
    copy.upload_pages_from_url(page_source, 0, 512, 0, source_authorization=reader)
    assert copy.download_blob().readall() == b"p" * 512
    blob = writer.get_blob_client("refused")
    stranger = f"Bearer {token(NOBODY)}"
    assert refused(blob.upload_blob_from_url, source, source_authorization=stranger) == \
        (403, "CannotVerifyCopySource")


# `serve`, with an issuer of the test's own: keys by its metadata, replaced while the server runs.

def number(value):
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


class Issuer:
    """An identity provider that answers on loopback, and signs."""

    def __init__(self):
        self.keys = {}
        self.add("first")
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                keys = [{"kty": "RSA", "use": "sig", "kid": kid, "n": number(key.public_key().public_numbers().n),
                         "e": "AQAB"} for kid, key in issuer.keys.items()]
                body = {"/keys": {"keys": keys},
                        "/metadata": {"issuer": "https://login/t/v2.0", "jwks_uri": f"{issuer.url}/keys"}}[self.path]
                body = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, kid):
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, kid, **claims):
        now = int(time.time())
        claims = {"iss": "https://login/t/v2.0", "aud": "https://storage.azure.com", "tid": "t", "oid": "me",
                  "nbf": now, "exp": now + 600, **claims}

        def encode(part):
            return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

        text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": kid}, claims))
        signature = self.keys[kid].sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{encode(signature)}"


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def serving(folder, config):
    path = folder / "stabbur.toml"
    path.write_text(config, encoding="utf-8")
    log = folder / f"serve-{uuid.uuid4().hex}.log"
    with open(log, "ab") as out:
        process = subprocess.Popen([os.environ["STABBUR_BINARY"], "serve", "--config", str(path)],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 20
        while (text := log.read_text(encoding="utf-8")).count("listening") < LISTENERS:
            assert process.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.02)
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text(encoding="utf-8")


@pytest.mark.skipif(bool(os.environ.get("STABBUR_POSTGRES") or os.environ.get("STABBUR_CONTENT")),
                    reason="the configuration keeps everything in a folder of its own")
def test_serve_takes_tokens_of_configured_issuers(server):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="stabbur-bearer-"))
    issuer = Issuer()
    authority = server.endpoints.ready["ca"]
    tls = pathlib.Path(authority).parent
    key_file = folder / "documents.key"
    key_file.write_text(base64.b64encode(os.urandom(64)).decode(), encoding="utf-8")
    port = free_port()
    config = f"""
data_dir = "{folder}/data"
[blobs]
listen = "127.0.0.1:{port}"
tls = {{ certificate = "{tls}/server.pem", key = "{tls}/server-key.pem" }}
[[blobs.accounts]]
name = "acme"
allow_shared_key_access = false
roles = [
  {{ role = "Storage Blob Data Contributor", principal = "me" }},
  {{ role = "Storage Blob Data Reader", group = "readers" }},
]
[bearer]
tenant = "t"
authorization_uri = "https://login/t/oauth2/authorize"
issuers = [{{ issuer = "https://login/t/v2.0", metadata_url = "{issuer.url}/metadata" }}]
[documents]
listen = "127.0.0.1:0"
accounts = [{{ name = "acme", key_files = ["{key_file}"] }}]
[admin]
listen = "127.0.0.1:0"
"""
    url = f"https://127.0.0.1:{port}/acme"

    def client(token):
        return BlobServiceClient(url, credential=Credential(token), connection_verify=authority, retry_total=0)

    def fetch(query):
        return requests.get(f"{url}/box/a?{query}", verify=authority, timeout=20)

    try:
        with serving(folder, config):
            mine = client(issuer.token("first"))
            mine.create_container("box").upload_blob("a", b"content")
            group = client(issuer.token("first", oid="other", groups=["readers"])).get_container_client("box")
            assert group.download_blob("a").readall() == b"content"
            assert refused(group.upload_blob, "b", b"x") == (403, "AuthorizationPermissionMismatch")
            unauthorized = (401, "InvalidAuthenticationInfo")
            for wrong in ({"iss": "https://login/u/v2.0"}, {"tid": "u"}, {"aud": "https://acme"},
                          {"exp": int(time.time()) - 301}, {"nbf": int(time.time()) + 400}):
                assert refused(lambda: list(client(issuer.token("first", **wrong)).list_containers())) == unauthorized
            # A key that came after the server had asked: not looked for more often than each five minutes.
            issuer.add("second")
            assert refused(lambda: list(client(issuer.token("second")).list_containers())) == unauthorized
            # Keys are off.
            assert refused(by_key(url, "acme", authority).get_service_properties) == \
                (403, "KeyBasedAuthenticationNotPermitted")
            # A signature outlives the process that gave its key.
            delegation = mine.get_user_delegation_key(hours(-1), hours(1))
            sas = generate_blob_sas("acme", "box", "a", user_delegation_key=delegation, permission="r",
                                    expiry=hours(1))
            assert fetch(sas).content == b"content"
        with serving(folder, config):
            assert fetch(sas).content == b"content"
            assert [found.name for found in client(issuer.token("second")).list_containers()] == ["box"]
        revoked = config.replace("allow_shared_key_access", "delegation_generation = 1\nallow_shared_key_access")
        with serving(folder, revoked):
            answer = fetch(sas)
            assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
    finally:
        issuer.server.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
