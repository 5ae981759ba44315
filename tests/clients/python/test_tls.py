"""The same SDKs over https, trusting the authority that the development server made.

Each runs in a process of its own, since the variable that names the authority is read once.
"""

import os
import pathlib
import subprocess
import sys

import pytest

from server import BLOBS_ACCOUNT, BLOBS_KEY, DOCUMENTS_KEY

BLOBS = f"""
from azure.storage.blob import BlobServiceClient
service = BlobServiceClient(sys.argv[1], credential={{"account_name": "{BLOBS_ACCOUNT}", "account_key": "{BLOBS_KEY}"}})
container = service.create_container("tls")
container.upload_blob("a", b"over tls")
assert container.download_blob("a").readall() == b"over tls"
container.delete_container()
"""

DOCUMENTS = f"""
from azure.cosmos import CosmosClient, PartitionKey
client = CosmosClient(sys.argv[1], credential="{DOCUMENTS_KEY}")
container = client.create_database("tls").create_container("c", partition_key=PartitionKey(path="/pk"))
container.create_item({{"id": "1", "pk": "a"}})
assert container.read_item("1", partition_key="a")["id"] == "1"
client.delete_database("tls")
"""

PLATFORM = """
import requests
token = requests.get(sys.argv[1] + "/Home/GetTestOrgToken/nobody", timeout=20).text
keys = requests.get(sys.argv[1] + "/authentication/api/v1/openid/.well-known/openid-configuration", timeout=20).json()
assert keys["jwks_uri"].startswith("https://"), keys
listed = requests.get(sys.argv[1] + "/storage/api/v1/instances?org=nobody", timeout=20,
                      headers={"Authorization": f"Bearer {token}"}).json()
assert listed["self"].startswith("https://") and listed["instances"] == [], listed
"""

ANY = """
import requests
requests.get(sys.argv[1])
"""


def authority(server):
    named = server.endpoints.ready.get("ca")
    found = [pathlib.Path(named)] if named else sorted(server.data.rglob("ca*.pem"))
    assert found, "the server writes its development authority into the data folder"
    return str(found[0])


@pytest.mark.parametrize(("name", "script"), [("blobs", BLOBS), ("documents", DOCUMENTS), ("platform", PLATFORM)])
def test_over_tls(server, name, script):
    url = server.endpoints.tls(name)
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": authority(server), "SSL_CERT_FILE": authority(server)}
    run = subprocess.run([sys.executable, "-c", "import sys\n" + script, url], env=environment,
                         capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


def test_a_stranger_is_not_trusted(server):
    environment = {k: v for k, v in os.environ.items() if k not in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}
    run = subprocess.run([sys.executable, "-c", "import sys\n" + ANY, server.endpoints.tls("documents")],
                         env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode != 0 and "CERTIFICATE_VERIFY_FAILED" in run.stderr
