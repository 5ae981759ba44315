"""Secrets through azure-keyvault-secrets and azure-identity, over TLS, with all of their checks."""

import datetime

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError,
)

import vault_views


@pytest.fixture(scope="module")
def client(endpoints):
    with vault_views.trusting(endpoints), vault_views.secrets(endpoints) as client:
        yield client


def test_a_secret_is_set_read_changed_and_versioned(client):
    expires = datetime.datetime(2037, 1, 1, tzinfo=datetime.timezone.utc)
    first = client.set_secret("Db-Password", "påssord \N{LOCK}", content_type="text/plain", tags={"a": "b"},
                              expires_on=expires)
    assert first.properties.vault_url.startswith("https://dev.vault.localhost:")
    read = client.get_secret("db-password")
    assert (read.value, read.id) == ("påssord \N{LOCK}", first.id)
    assert (read.properties.content_type, read.properties.tags) == ("text/plain", {"a": "b"})
    assert read.properties.expires_on == expires
    assert read.properties.recovery_level == "Recoverable+Purgeable"
    assert read.properties.recoverable_days == 90
    second = client.set_secret("Db-Password", "")
    assert client.get_secret("Db-Password").value == ""
    assert client.get_secret("Db-Password", first.properties.version).value == "påssord \N{LOCK}"
    versions = {row.version for row in client.list_properties_of_secret_versions("Db-Password")}
    assert versions == {first.properties.version, second.properties.version}
    changed = client.update_secret_properties("Db-Password", enabled=False, tags={"c": "d"})
    assert (changed.enabled, changed.tags) == (False, {"c": "d"})
    with pytest.raises(HttpResponseError) as refused:
        client.get_secret("Db-Password")
    assert refused.value.status_code == 403
    client.update_secret_properties("Db-Password", enabled=True)
    assert client.get_secret("Db-Password").value == ""


def test_lists_go_on_over_pages(client):
    names = {f"many-{at:02}" for at in range(28)}
    for name in names:
        client.set_secret(name, "v")
    found = [row.name for row in client.list_properties_of_secrets() if row.name.startswith("many-")]
    assert len(found) == 28 and set(found) == names
    pages = [list(page) for page in client.list_properties_of_secrets(max_page_size=10).by_page()]
    assert all(len(page) <= 10 for page in pages) and len(pages) >= 3


def test_deleting_recovering_purging(client):
    client.set_secret("gone", "one")
    deleted = client.begin_delete_secret("gone").result()
    assert deleted.recovery_id.endswith("/deletedsecrets/gone")
    assert deleted.scheduled_purge_date - deleted.deleted_date == datetime.timedelta(days=90)
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_secret("gone")
    assert missing.value.error.code == "SecretNotFound"
    with pytest.raises(ResourceExistsError) as exists:
        client.set_secret("gone", "two")
    assert exists.value.error.innererror["code"] == "ObjectIsDeletedButRecoverable"
    assert "gone" in [row.name for row in client.list_deleted_secrets()]
    client.begin_recover_deleted_secret("gone").wait()
    assert client.get_secret("gone").value == "one"
    client.begin_delete_secret("gone").wait()
    client.purge_deleted_secret("gone")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret("gone")


def test_a_backup_comes_back(client):
    one = client.set_secret("kept", "one", tags={"a": "b"})
    two = client.set_secret("kept", "two")
    backup = client.backup_secret("kept")
    assert b"one" not in backup and b"two" not in backup
    with pytest.raises(ResourceExistsError):
        client.restore_secret_backup(backup)
    client.begin_delete_secret("kept").wait()
    client.purge_deleted_secret("kept")
    client.restore_secret_backup(backup)
    assert client.get_secret("kept").id == two.id
    read = client.get_secret("kept", one.properties.version)
    assert (read.value, read.properties.tags) == ("one", {"a": "b"})


@pytest.mark.parametrize("version", ["7.0", "7.4", "2016-10-01", "2025-07-01"])
def test_older_versions_of_the_protocol(endpoints, client, version):
    client.set_secret("versioned", version)
    with vault_views.secrets(endpoints, api_version=version) as older:
        assert older.get_secret("versioned").value == version


def test_roles_decide(endpoints, client):
    client.set_secret("shown", "v")
    with vault_views.secrets(endpoints, "secrets_user") as user:
        assert user.get_secret("shown").value == "v"
        with pytest.raises(HttpResponseError) as refused:
            user.set_secret("shown", "w")
        assert (refused.value.status_code, refused.value.error.innererror["code"]) == (403, "ForbiddenByRbac")
    with vault_views.secrets(endpoints, "reader") as reader:
        assert "shown" in [row.name for row in reader.list_properties_of_secrets()]
        with pytest.raises(HttpResponseError):
            reader.get_secret("shown")
    with vault_views.secrets(endpoints, "crypto_officer") as other:
        with pytest.raises(HttpResponseError):
            other.get_secret("shown")


def test_a_wrong_secret_gets_no_token(endpoints, client):
    wrong = vault_views.credential(endpoints, secret="guessed")
    with pytest.raises(ClientAuthenticationError) as refused:
        wrong.get_token("https://vault.localhost/.default")
    assert "7000215" in str(refused.value) and "guessed" not in str(refused.value)
    with pytest.raises(ClientAuthenticationError) as unknown:
        vault_views.credential(endpoints).get_token("https://storage.example/.default")
    assert "500011" in str(unknown.value)
