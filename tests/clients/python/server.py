"""Starts the server on free ports, knows its addresses, and reads its log.

A quiet log is part of what is tested: `unexpected_log_lines` gives every WARN and ERROR that the
test which caused it didn't announce.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

READY_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20

BLOBS_ACCOUNT = "devstoreaccount1"
# The emulators' own keys, published by Microsoft; `stabbur serve` refuses them.
BLOBS_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
DOCUMENTS_KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

# Said once by every development server, and no fault.
ALWAYS_EXPECTED = [
    r"well-known",
    r"development",
]


class Endpoints:
    """The addresses that the ready file names, without a slash at their end."""

    def __init__(self, ready):
        self.ready = ready
        self.blobs = ready["blobs"].rstrip("/")
        self.documents = ready["documents"].rstrip("/")
        self.platform = ready["platform"].rstrip("/")
        self.admin = ready["admin"].rstrip("/")
        # A peer that is no registry names none.
        self.registry = ready.get("registry", "").rstrip("/")

    @classmethod
    def read(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    @property
    def storage(self):
        """Base of Platform Storage."""
        return f"{self.platform}/storage/api/v1"

    @property
    def blobs_account(self):
        """Base of the development account, path style."""
        base = self.blobs
        return base if base.endswith(BLOBS_ACCOUNT) else f"{base}/{BLOBS_ACCOUNT}"

    def tls(self, name):
        """The https address of a listener: one port serves both if no other is named."""
        base = self.ready.get(f"{name}_tls") or getattr(self, name).replace("http://", "https://")
        base = base.rstrip("/")
        return f"{base}/{BLOBS_ACCOUNT}" if name == "blobs" and not base.endswith(BLOBS_ACCOUNT) else base

    @property
    def blobs_connection_string(self):
        scheme = self.blobs.split(":", 1)[0]
        return (
            f"DefaultEndpointsProtocol={scheme};AccountName={BLOBS_ACCOUNT};AccountKey={BLOBS_KEY};"
            f"BlobEndpoint={self.blobs_account};"
        )


class Database:
    """A database for one server's ledger, in the PostgreSQL server that STABBUR_POSTGRES names: a
    connection string without a database."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    @classmethod
    def new(cls):
        database = cls(os.environ["STABBUR_POSTGRES"], f"clients_{uuid.uuid4().hex[:12]}")
        database.run(f"CREATE DATABASE {database.name}")
        return database

    def run(self, statement):
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", f"{self.server} dbname=postgres", "-c", statement],
                       check=True, capture_output=True)

    def arguments(self):
        return ["--ledger-postgres", f"{self.server} dbname={self.name}"]

    def drop(self):
        self.run(f"DROP DATABASE {self.name} WITH (FORCE)")


def content_arguments(folder):
    """Content in the object store that STABBUR_CONTENT names, below a prefix of this server's own: a file
    as `--content-config` takes it, without a prefix."""
    named = os.environ.get("STABBUR_CONTENT")
    if not named:
        return []
    config = folder / "content.toml"
    prefix = f'prefix = "clients-{uuid.uuid4().hex[:12]}"\n'
    config.write_text(pathlib.Path(named).read_text(encoding="utf-8") + prefix, encoding="utf-8")
    return ["--content-config", str(config)]


def is_all_in_its_folder():
    """Whether servers keep both ledger and content in their data folder."""
    return not (os.environ.get("STABBUR_POSTGRES") or os.environ.get("STABBUR_CONTENT"))


class Server:
    """A running server with a folder of its own. `content_config` is a file of the test's own choice,
    `options` go to the command line."""

    def __init__(self, data=None, content_config=None, options=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stabbur-clients-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.log_path = self.folder / "server.log"
        self.process = None
        self.endpoints = None
        self.expected = [re.compile(pattern) for pattern in ALWAYS_EXPECTED]
        self.database = Database.new() if os.environ.get("STABBUR_POSTGRES") else None
        own = ["--content-config", str(content_config)] if content_config else None
        self.content = own or content_arguments(self.folder)
        self.options = list(options)

    def start(self):
        binary = os.environ.get("STABBUR_BINARY")
        if not binary:
            raise RuntimeError("STABBUR_BINARY names no server; run `cargo xtask test`")
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        # Each server has a database of its own, so that none sees what another kept.
        engine = self.database.arguments() if self.database else []
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    binary, "dev", "--data", str(self.data), "--blobs-port", "0",
                    "--documents-port", "0", "--platform-port", "0", "--admin-port", "0",
                    "--vault-port", "0", "--login-port", "0", "--registry-port", "0",
                    "--ready-file", str(ready), *engine, *self.content, *self.options,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                self.endpoints = Endpoints.read(ready)
                return self
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError(f"the server stopped at start:\n{self.log()}")
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"the server isn't ready after {READY_SECONDS_MAX} s:\n{self.log()}")

    def stop(self):
        """Asks it to stop; it must end by itself and with success."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server didn't stop within {STOP_SECONDS_MAX} s") from None
        if code != 0:
            raise RuntimeError(f"the server stopped with {code}:\n{self.log()}")

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.database:
            self.database.drop()

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def expect_log(self, pattern):
        """Announces that lines with `pattern` are meant to come."""
        self.expected.append(re.compile(pattern))

    def unexpected_log_lines(self):
        colours = re.compile(r"\x1b\[[0-9;]*m")
        lines = (colours.sub("", line) for line in self.log().splitlines())
        loud = [line for line in lines if re.search(r"\b(WARN|ERROR)\b|panicked", line)]
        return [line for line in loud if not any(known.search(line) for known in self.expected)]
