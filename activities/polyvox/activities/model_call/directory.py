"""Which provider a model reference names, what it speaks and which headers open it."""

from collections.abc import Mapping
from dataclasses import dataclass

from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.protocols.chat import provider_request as chat
from polyvox.protocols.messages import provider_request as messages
from polyvox.protocols.provider_side import Dialect
from polyvox.protocols.responses import provider_stream as responses
from polyvox.workflows.errors import ModelError

DIALECTS: dict[str, Dialect] = {"chat": chat, "responses": responses, "messages": messages}


@dataclass(frozen=True, slots=True)
class Destination:
    """A model at its provider. ``model`` is the provider's own name for it."""

    provider: Provider
    model: str
    dialect: Dialect


class Directory:
    """The providers a process knows, and the environment that holds their keys."""

    def __init__(self, providers: Mapping[str, Provider], environ: Mapping[str, str]) -> None:
        self._providers = providers
        self._environ = environ

    def find(self, reference: str) -> Destination:
        """Return what ``provider:model`` names. Raises ModelError("model_not_found")."""
        name, _, model = reference.partition(":")
        provider = self._providers.get(name)
        if provider is None or not model:
            known = ", ".join(sorted(self._providers))
            raise ModelError(
                "model_not_found",
                f"Model {reference!r} names no known provider. Providers: {known}.",
                param="model",
            )
        return Destination(provider, model, DIALECTS[provider.protocol])

    def authorization(self, destination: Destination) -> dict[str, str]:
        """Return the headers that carry the key, none for a provider that needs none.

        Raises ModelError("provider_authentication") if the key is not in the environment.
        """
        provider = destination.provider
        key = api_key(provider, self._environ)
        if key is not None:
            return destination.dialect.authorize(key)
        if provider.api_key_env is None:
            return {}
        raise ModelError(
            "provider_authentication",
            f"Provider {provider.name!r} needs a key: set {provider.api_key_env} in the "
            "environment of the server and start it again.",
            provider=provider.name,
        )
