"""The deployment key: from the environment, and the keys derived from it."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from polyvox.activities.storage.credential_seal import CredentialSeal
from polyvox.activities.storage.deployment_key import DeploymentKey, DeploymentKeyError

SECRET = "0123456789abcdef" * 2


def test_keys_are_derived_with_hkdf() -> None:
    """As RFC 5869 defines it, so that other programs can derive them too."""
    expected = HKDF(SHA256(), 32, b"polyvox deployment key", b"live lane").derive(SECRET.encode())
    assert DeploymentKey(SECRET).derived("live lane") == expected
    assert DeploymentKey(SECRET).derived("credential seal") != expected


def test_processes_with_the_same_key_open_each_others_credentials() -> None:
    """Whatever their data folders contain."""
    one, other = (CredentialSeal.of_deployment(DeploymentKey(SECRET)) for _ in range(2))
    assert other.decrypt(one.encrypt("secret", "owner"), "owner") == "secret"
    stranger = CredentialSeal.of_deployment(DeploymentKey(SECRET[::-1]))
    assert stranger.decrypt(one.encrypt("secret", "owner"), "owner") is None


def test_a_missing_or_short_key_is_refused_with_a_remedy() -> None:
    """The message has the command that makes one, and not the value."""
    assert DeploymentKey.of({"POLYVOX_DEPLOYMENT_KEY": "  "}) is None
    with pytest.raises(
        DeploymentKeyError, match=r"X needs POLYVOX_DEPLOYMENT_KEY.*token_hex\(32\)"
    ):
        DeploymentKey.required({}, "X")
    with pytest.raises(DeploymentKeyError, match="has 5 characters") as refused:
        DeploymentKey.of({"POLYVOX_DEPLOYMENT_KEY": "short"})
    assert "short" not in str(refused.value).split()
