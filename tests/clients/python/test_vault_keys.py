"""Keys through azure-keyvault-keys. The judge of signatures and blocks is another implementation:
cryptography, over OpenSSL."""

import hashlib

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.keys import (
    ApiVersion, JsonWebKey, KeyCurveName, KeyOperation, KeyRotationLifetimeAction, KeyRotationPolicy,
    KeyRotationPolicyAction, KeyType,
)
from azure.keyvault.keys.crypto import (
    CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm,
)
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

import vault_views

CURVES = {
    "P-256": (ec.SECP256R1(), "ES256", hashes.SHA256()),
    "P-384": (ec.SECP384R1(), "ES384", hashes.SHA384()),
    "P-521": (ec.SECP521R1(), "ES512", hashes.SHA512()),
    "P-256K": (ec.SECP256K1(), "ES256K", hashes.SHA256()),
}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@pytest.fixture(scope="module")
def client(endpoints):
    with vault_views.trusting(endpoints), vault_views.keys(endpoints) as client:
        yield client


def remote(endpoints, key):
    """Everything is done by the server: the client would do public work itself."""
    crypto = CryptographyClient(key.id, vault_views.credential(endpoints))
    # It would ask for the public half first; without it, it has a provider that does nothing.
    crypto._initialized = True
    return crypto


def number(raw):
    return int.from_bytes(raw, "big")


def rsa_public(key):
    return rsa.RSAPublicNumbers(number(key.key.e), number(key.key.n)).public_key()


def ec_public(key):
    curve = CURVES[key.key.crv][0]
    return ec.EllipticCurvePublicNumbers(number(key.key.x), number(key.key.y), curve).public_key()


def digest(hash_, text=b"text"):
    return hashlib.new(hash_.name, text).digest()


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_signatures_are_good_elsewhere(endpoints, client, bits):
    key = client.create_rsa_key(f"rsa-{bits}", size=bits)
    public, crypto = rsa_public(key), remote(endpoints, key)
    assert public.key_size == bits
    for size, hash_ in HASHES.items():
        for name, scheme in [
            ("RS", padding.PKCS1v15()),
            ("PS", padding.PSS(padding.MGF1(hash_), hash_.digest_size)),
        ]:
            algorithm = SignatureAlgorithm(f"{name}{size}")
            signed = crypto.sign(algorithm, digest(hash_))
            assert signed.key_id == key.id
            public.verify(signed.signature, digest(hash_), scheme, utils.Prehashed(hash_))
            with pytest.raises(InvalidSignature):
                public.verify(signed.signature, digest(hash_, b"other"), scheme, utils.Prehashed(hash_))
            assert crypto.verify(algorithm, digest(hash_), signed.signature).is_valid
            assert not crypto.verify(algorithm, digest(hash_, b"other"), signed.signature).is_valid


@pytest.mark.parametrize("name", CURVES)
def test_ec_signatures_are_good_elsewhere(endpoints, client, name):
    _, algorithm, hash_ = CURVES[name]
    key = client.create_ec_key(f"ec-{name}", curve=KeyCurveName(name))
    public, crypto = ec_public(key), remote(endpoints, key)
    for _ in range(5):
        signature = crypto.sign(SignatureAlgorithm(algorithm), digest(hash_)).signature
        half = len(signature) // 2
        der = utils.encode_dss_signature(number(signature[:half]), number(signature[half:]))
        public.verify(der, digest(hash_), ec.ECDSA(utils.Prehashed(hash_)))
        assert crypto.verify(SignatureAlgorithm(algorithm), digest(hash_), signature).is_valid
        assert not crypto.verify(SignatureAlgorithm(algorithm), digest(hash_, b"other"), signature).is_valid


def private_jwk(name):
    """A key of OpenSSL's, as the client brings it in."""
    private = ec.generate_private_key(CURVES[name][0])
    size = (private.curve.key_size + 7) // 8
    numbers = private.private_numbers()
    part = lambda value: value.to_bytes(size, "big")  # noqa: E731
    public = numbers.public_numbers
    jwk = JsonWebKey(kty=KeyType.ec, crv=name, x=part(public.x), y=part(public.y), d=part(numbers.private_value),
                     key_ops=["sign", "verify"])
    return private, jwk


@pytest.mark.parametrize("name", CURVES)
def test_ec_keys_are_brought_in(endpoints, client, name):
    private, jwk = private_jwk(name)
    _, algorithm, hash_ = CURVES[name]
    key = client.import_key(f"brought-{name}", jwk)
    assert key.key.d is None
    assert ec_public(key).public_numbers() == private.public_key().public_numbers()
    elsewhere = private.sign(digest(hash_), ec.ECDSA(utils.Prehashed(hash_)))
    size = (private.curve.key_size + 7) // 8
    joined = b"".join(part.to_bytes(size, "big") for part in utils.decode_dss_signature(elsewhere))
    assert remote(endpoints, key).verify(SignatureAlgorithm(algorithm), digest(hash_), joined).is_valid


def test_rsa_keys_are_brought_in_and_open_what_was_closed_elsewhere(endpoints, client):
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.private_numbers()
    part = lambda value: value.to_bytes((value.bit_length() + 7) // 8, "big")  # noqa: E731
    jwk = JsonWebKey(
        kty=KeyType.rsa, n=part(numbers.public_numbers.n), e=part(numbers.public_numbers.e), d=part(numbers.d),
        p=part(numbers.p), q=part(numbers.q), dp=part(numbers.dmp1), dq=part(numbers.dmq1), qi=part(numbers.iqmp),
        key_ops=["encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify"],
    )
    key = client.import_key("brought-rsa", jwk)
    crypto = remote(endpoints, key)
    for algorithm, scheme in [
        ("RSA1_5", padding.PKCS1v15()),
        ("RSA-OAEP", padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)),
        ("RSA-OAEP-256", padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)),
    ]:
        block = private.public_key().encrypt(b"a key", scheme)
        assert crypto.decrypt(EncryptionAlgorithm(algorithm), block).plaintext == b"a key"
        assert crypto.unwrap_key(KeyWrapAlgorithm(algorithm), block).key == b"a key"
        for closed in (
            crypto.encrypt(EncryptionAlgorithm(algorithm), b"text").ciphertext,
            crypto.wrap_key(KeyWrapAlgorithm(algorithm), b"text").encrypted_key,
        ):
            assert private.decrypt(closed, scheme) == b"text"


def test_clients_do_public_work_themselves_and_agree(endpoints, client):
    key = client.create_rsa_key("shared", size=2048)
    crypto = CryptographyClient(key, vault_views.credential(endpoints))
    closed = crypto.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"text")
    assert crypto.decrypt(EncryptionAlgorithm.rsa_oaep_256, closed.ciphertext).plaintext == b"text"
    signed = crypto.sign(SignatureAlgorithm.ps256, digest(hashes.SHA256()))
    assert crypto.verify(SignatureAlgorithm.ps256, digest(hashes.SHA256()), signed.signature).is_valid


def test_a_key_lives_as_a_secret_does(endpoints, client):
    key = client.create_ec_key("living", tags={"a": "b"})
    assert client.get_key("LIVING").id == key.id
    changed = client.update_key_properties("living", key_operations=[KeyOperation.verify], enabled=True)
    assert changed.key_operations == ["verify"]
    with pytest.raises(HttpResponseError) as refused:
        remote(endpoints, key).sign(SignatureAlgorithm.es256, digest(hashes.SHA256()))
    assert refused.value.status_code == 403
    backup = client.backup_key("living")
    client.begin_delete_key("living").wait()
    with pytest.raises(ResourceExistsError):
        client.create_ec_key("living")
    client.begin_recover_deleted_key("living").wait()
    client.begin_delete_key("living").wait()
    client.purge_deleted_key("living")
    with pytest.raises(ResourceNotFoundError):
        client.get_key("living")
    assert client.restore_key_backup(backup).id == key.id


def test_keys_rotate(client):
    key = client.create_ec_key("turning")
    rotate = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
    policy = client.update_key_rotation_policy(
        "turning", KeyRotationPolicy(lifetime_actions=[rotate], expires_in="P90D"))
    assert policy.expires_in == "P90D"
    rotated = client.rotate_key("turning")
    assert rotated.id != key.id
    assert (rotated.properties.expires_on - rotated.properties.created_on).days == 90
    assert len(list(client.list_properties_of_key_versions("turning"))) == 2
    assert client.get_key_rotation_policy("turning").lifetime_actions[0].time_after_create == "P30D"


@pytest.mark.parametrize("make", [
    lambda client: client.create_rsa_key("hard", hardware_protected=True),
    lambda client: client.create_ec_key("hard", hardware_protected=True),
    lambda client: client.create_oct_key("hard", size=256),
    lambda client: client.create_rsa_key("hard", size=1024),
])
def test_what_is_not_there_is_refused(client, make):
    with pytest.raises(HttpResponseError) as refused:
        make(client)
    assert (refused.value.status_code, refused.value.error.code) == (400, "BadParameter")
    with pytest.raises(ResourceNotFoundError):
        client.get_key("hard")


def test_older_versions_of_the_protocol(endpoints, client):
    client.create_ec_key("versioned")
    for version in (ApiVersion.V7_0, ApiVersion.V7_4, ApiVersion.V2016_10_01):
        with vault_views.keys(endpoints, api_version=version) as older:
            assert older.get_key("versioned").name == "versioned"
