"""That the vault keeps what it is given: nothing of it on disk, in logs, in errors or in the audit; nothing lost
by a kill in the middle of a purge or of a change of the root key; sealed without that key."""

import base64
import json
import os
import pathlib
import random
import signal
import stat
import subprocess
import threading
import time

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import JsonWebKey, KeyType
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

import server as servers
import vault_views

PLANTED = [f"planted-{number}-9f3b2c71d5e84a60" for number in range(12)]

pytestmark = pytest.mark.skipif(
    not servers.is_all_in_its_folder() or bool(os.environ.get("STABBUR_READY_FILE")),
    reason="looks into the data folder",
)


def command(server, *arguments, fails=False):
    done = subprocess.run(
        [os.environ["STABBUR_BINARY"], *arguments, "--data", str(server.data)], capture_output=True, text=True,
        timeout=60,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def forms(text):
    """How a value might lie somewhere: as it is, and in base64 at each of three offsets."""
    raw = text.encode()
    yield raw
    yield raw.hex().encode()
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + raw)
        # Without what depends on the neighbours.
        yield coded[4:-4]
        yield base64.urlsafe_b64encode(b"x" * shift + raw)[4:-4]


def files_with(folder, texts):
    found = []
    for path in pathlib.Path(folder).rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        found += [(path.name, text) for text in texts for form in forms(text) if form in content]
    return found


@pytest.fixture
def server():
    server = servers.Server()
    server.start()
    yield server
    server.stop()
    server.remove()


def test_nothing_of_a_value_lies_around(server):
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.private_numbers()
    part = lambda value: value.to_bytes(32, "big")  # noqa: E731
    jwk = JsonWebKey(kty=KeyType.ec, crv="P-256", d=part(numbers.private_value), key_ops=["sign"],
                     x=part(numbers.public_numbers.x), y=part(numbers.public_numbers.y))
    errors = []
    with vault_views.trusting(server.endpoints):
        with vault_views.secrets(server.endpoints) as client, vault_views.keys(server.endpoints) as keys:
            for number, planted in enumerate(PLANTED[:8]):
                client.set_secret(f"s{number}", planted, tags={"a": "b"})
                assert client.get_secret(f"s{number}").value == planted
            client.begin_delete_secret("s1").wait()
            client.begin_delete_secret("s2").wait()
            client.purge_deleted_secret("s2")
            backup = client.backup_secret("s0")
            keys.import_key("k", jwk)
            rsa = keys.create_rsa_key("rsa", size=2048)
            crypto = CryptographyClient(rsa, vault_views.credential(server.endpoints))
            closed = crypto.encrypt(EncryptionAlgorithm.rsa_oaep, PLANTED[8].encode()).ciphertext
            assert crypto.decrypt(EncryptionAlgorithm.rsa_oaep, closed).plaintext == PLANTED[8].encode()
            for attempt in (
                lambda: client.set_secret("bad_name", PLANTED[9]),
                lambda: client.set_secret("s1", PLANTED[9]),
                lambda: client.set_secret("too-long", PLANTED[10] * 2_000),
                lambda: client.set_secret("tags", PLANTED[11], tags={f"t{at}": "v" for at in range(16)}),
                lambda: client.restore_secret_backup(PLANTED[11].encode() * 10),
            ):
                with pytest.raises(HttpResponseError) as refused:
                    attempt()
                errors.append(str(refused.value) + refused.value.response.text())
    assert not [planted for planted in PLANTED if planted in "".join(errors)]
    assert not [planted for planted in PLANTED for form in forms(planted) if form in backup]
    everywhere = [*PLANTED, vault_views.CLIENT_SECRET]
    time.sleep(6)  # The sealing of the audit runs meanwhile.
    # Running and stopped: the log beside the data folder, and all that is below.
    server.stop()
    private = part(numbers.private_value)
    for path in pathlib.Path(server.folder).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert private not in content and base64.urlsafe_b64encode(private)[:40] not in content, path
    said_once = (server.log_path.name, vault_views.CLIENT_SECRET)  # printed for developers at the start
    found = [place for place in files_with(server.folder, everywhere) if place != said_once]
    assert found == []
    key_file = server.data / "vault-root.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    root = key_file.read_text().strip()
    assert [path for path, _ in files_with(server.folder, [root])] == [key_file.name]


def test_the_audit_is_read_and_verified(server):
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        client.set_secret("seen", PLANTED[0])
        client.get_secret("seen")
        with vault_views.secrets(server.endpoints, "reader") as reader:
            with pytest.raises(HttpResponseError):
                reader.get_secret("seen")
    time.sleep(7)
    server.stop()
    rows = [json.loads(line)["row"] for line in command(server, "audit", "read", "--vault", "dev").splitlines()]
    told = [(row["operationName"], row["properties"]["httpStatusCode"]) for row in rows]
    for wanted in [("Authentication", 401), ("SecretSet", 200), ("SecretGet", 200), ("SecretGet", 403)]:
        assert wanted in told
    key_file = server.data / "vault-root.key"
    said = command(server, "audit", "verify", "--vault", "dev", "--key-file", str(key_file))
    assert f"{len(rows)} rows under" in said and " 0 faults" in said
    other = server.folder / "other.key"
    other.write_text("7" * 64)
    other.chmod(0o600)
    command(server, "audit", "verify", "--vault", "dev", "--key-file", str(other), fails=True)


def test_without_its_root_key_the_vault_is_sealed_and_the_rest_serves(server):
    key_file = server.data / "vault-root.key"
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        client.set_secret("kept", "value")
    server.stop()
    hidden = key_file.rename(server.folder / "away.key")
    server.expect_log("the vaults are sealed")
    for break_it in ("missing", "another", "readable"):
        if break_it == "another":
            key_file.write_text("5" * 64)
            key_file.chmod(0o600)
        if break_it == "readable":
            key_file.write_bytes(hidden.read_bytes())
            key_file.chmod(0o644)
        server.start()
        with vault_views.trusting(server.endpoints):
            with vault_views.secrets(server.endpoints, retry_total=0) as client:
                with pytest.raises(HttpResponseError) as sealed:
                    client.get_secret("kept")
        assert sealed.value.status_code == 503
        assert "vault-root" not in sealed.value.response.text()
        import life_views
        with life_views.blobs_client(server.endpoints) as blobs:
            blobs.get_account_information()
        server.stop()
    key_file.unlink()
    hidden.rename(key_file)
    server.start()
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        assert client.get_secret("kept").value == "value"


def new_key(server, name, digit):
    path = server.folder / name
    path.write_text(digit * 64)
    path.chmod(0o600)
    return path


def test_a_change_of_the_root_key_is_whole_whenever_it_is_killed(server):
    chance = random.Random(7)
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        for number in range(5):
            client.set_secret(f"s{number}", PLANTED[number])
    server.stop()
    files = [server.data / "vault-root.key"]
    for turn in range(8):
        old, new = files[-1], new_key(server, f"root-{turn}.key", "0123456789abcdef"[turn + 1])
        arguments = ["vault", "rekey", "--data", str(server.data), "--key-file", str(new), "--old-key-file", str(old)]
        process = subprocess.Popen([os.environ["STABBUR_BINARY"], *arguments], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 0.25))
        process.kill()
        process.wait()
        # With both keys the same command goes on, whether or not it was done.
        assert "all are wrapped by root key" in command(server, *arguments[:2], *arguments[4:])
        command(server, "vault", "rekey", "--key-file", str(old), fails=True)
        files.append(new)
    server.options = ["--vault-root-key", str(files[-1])]
    server.start()
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        for number in range(5):
            assert client.get_secret(f"s{number}").value == PLANTED[number]
        server.stop()
        # Online: the new one in front, the old one behind, then the new one alone.
        new = new_key(server, "online.key", "f")
        server.options = ["--vault-root-key", str(new), "--vault-root-key", str(files[-1])]
        server.start()
        server.stop()
        server.options = ["--vault-root-key", str(new)]
        server.start()
    with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
        assert client.get_secret("s0").value == PLANTED[0]


def test_a_purge_is_whole_whenever_it_is_killed(server):
    chance = random.Random(11)
    for turn in range(4):
        gone, kept = set(), set()
        with vault_views.trusting(server.endpoints):
            with vault_views.secrets(server.endpoints) as client:
                names = [f"t{turn}-{number}" for number in range(12)]
                for name in names:
                    client.set_secret(name, "one")
                    client.set_secret(name, "two")
                    client.begin_delete_secret(name).wait()
                pid = server.process.pid
                timer = threading.Timer(chance.uniform(0.01, 0.15), os.kill, (pid, signal.SIGKILL))
                timer.start()
                with vault_views.secrets(server.endpoints, retry_total=0) as hasty:
                    for name in names:
                        try:
                            hasty.purge_deleted_secret(name)
                            gone.add(name)
                        except Exception:  # noqa: BLE001 the kill; whatever it looks like
                            break
                timer.join()
        server.process.wait()
        server.start()
        with vault_views.trusting(server.endpoints), vault_views.secrets(server.endpoints) as client:
            for name in names:
                try:
                    client.get_deleted_secret(name)
                    kept.add(name)
                except ResourceNotFoundError:
                    pass
            # What was acknowledged is gone for good; of the others each is there whole, or not at all.
            assert not gone & kept
            assert len(names) - len(gone) - len(kept) <= 1
            for name in kept:
                client.begin_recover_deleted_secret(name).wait()
                assert client.get_secret(name).value == "two"
                assert len(list(client.list_properties_of_secret_versions(name))) == 2
            for name in gone:
                client.set_secret(name, "new")
                assert len(list(client.list_properties_of_secret_versions(name))) == 1
    server.stop()
    command(server, "ledger", "verify")
