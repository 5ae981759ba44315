"""How tests see the vault: Azure's own clients, pointed at a server on a free port.

`*.localhost` is this machine by RFC 6761, but not every resolver knows it, so names below it are resolved
here.
"""

import contextlib
import os
import socket

from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient

CLIENT_SECRET = "well-known-development-secret"
ROLES = [
    "administrator", "secrets_user", "secrets_officer", "crypto_user", "crypto_officer",
    "crypto_service_encryption_user", "certificates_officer", "certificate_user", "reader",
]

_resolve = socket.getaddrinfo


def _resolve_localhost(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and name.endswith(".localhost"):
        host = "127.0.0.1"
    return _resolve(host, *arguments, **options)


socket.getaddrinfo = _resolve_localhost


@contextlib.contextmanager
def trusting(endpoints):
    """The server's own authority, as the environment variables that it prints name it."""
    names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: endpoints.ready["ca"] for name in names})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def client_id(role):
    return f"00000000-0000-4000-8000-00000000010{ROLES.index(role) + 1}"


def credential(endpoints, role="administrator", secret=CLIENT_SECRET):
    authority, tenant = endpoints.ready["login"].rsplit("/", 1)
    return ClientSecretCredential(
        tenant, client_id(role), secret, authority=authority, disable_instance_discovery=True,
    )


def secrets(endpoints, role="administrator", **options):
    """All of the client's checks are on: of the challenge's resource, of TLS."""
    return SecretClient(endpoints.ready["vault"], credential(endpoints, role), **options)


def keys(endpoints, role="administrator", **options):
    return KeyClient(endpoints.ready["vault"], credential(endpoints, role), **options)
