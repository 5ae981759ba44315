"""A static website, set up with azure-storage-blob and read as a browser does."""

from azure.storage.blob import BlobServiceClient, ContentSettings, StaticWebsite

import raw_http
from server import BLOBS_ACCOUNT


def test_a_website(endpoints):
    service = BlobServiceClient.from_connection_string(endpoints.blobs_connection_string)
    base = endpoints.blobs.split(f"/{BLOBS_ACCOUNT}")[0]
    host = {"Host": f"{BLOBS_ACCOUNT}.web.localhost"}

    def browse(path, **headers):
        return raw_http.request("GET", f"{base}{path}", {**host, **headers})

    assert browse("/").status == 404
    service.set_service_properties(static_website=StaticWebsite(
        enabled=True, index_document="index.html", error_document404_path="errors/404.html"))
    try:
        found = service.get_service_properties()["static_website"]
        assert (found.enabled, found.index_document, found.error_document404_path) == (
            True, "index.html", "errors/404.html")
        web = service.get_container_client("$web")
        html = ContentSettings(content_type="text/html")
        for name, text in (("index.html", b"home"), ("docs/index.html", b"docs"), ("errors/404.html", b"lost")):
            web.upload_blob(name, text, content_settings=html, overwrite=True)
        assert (browse("/").status, browse("/").body) == (200, b"home")
        assert browse("/docs/").body == b"docs"
        assert browse("/docs/").headers["content-type"] == "text/html"
        assert (browse("/nothing").status, browse("/nothing").body) == (404, b"lost")
        assert raw_http.request("PUT", f"{base}/x", host, b"x").status == 405
    finally:
        service.set_service_properties(static_website=StaticWebsite(enabled=False))
    assert browse("/").status == 404
