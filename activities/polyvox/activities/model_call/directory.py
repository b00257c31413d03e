"""Resolves a model reference to its provider, protocol and authorization headers."""

from collections.abc import Mapping
from dataclasses import dataclass

from polyvox.activities.media.inlining import Kinds
from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.protocols.dialects.dialect import Dialect
from polyvox.protocols.dialects.servers import dialect_of
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols, WireProtocol
from polyvox.workflows.conversation import Conversation, File, Image
from polyvox.workflows.errors import ModelError


@dataclass(frozen=True, slots=True)
class Destination:
    """A model at its provider.

    ``model`` is the provider's name for it, ``dialect`` what the provider's server accepts.
    """

    provider: Provider
    model: str
    protocol: WireProtocol
    dialect: Dialect

    def render(self, conversation: Conversation) -> Rendered:
        """Render the request for the model; see ``ProviderProtocol.render``."""
        return self.protocol.provider.render(conversation, self.model, self.dialect)

    @property
    def inlined(self) -> Kinds:
        """The kinds of media that the provider does not accept as URLs."""
        if self.provider.inline_urls:
            return (Image, File)
        return () if self.protocol.takes_file_urls else (File,)


class Directory:
    """The providers of a process, the environment with their keys, and their protocols."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        environ: Mapping[str, str],
        protocols: Protocols = PROTOCOLS,
    ) -> None:
        self._protocols = protocols
        self._providers = providers
        self._environ = environ
        self._dialects: dict[str, Dialect] = {}

    def find(self, reference: str) -> Destination:
        """Resolve ``provider:model``. Raises ModelError("model_not_found")."""
        name, _, model = reference.partition(":")
        provider = self._providers.get(name)
        if provider is None or not model:
            known = ", ".join(sorted(self._providers))
            raise ModelError(
                "model_not_found",
                f"Model {reference!r} names no known provider. Providers: {known}.",
                param="model",
            )
        dialect = self._dialects.get(name)
        if dialect is None:
            dialect = self._dialects[name] = dialect_of(provider.base_url, provider.dialect)
        return Destination(provider, model, self._protocols[provider.protocol], dialect)

    def authorization(self, destination: Destination) -> dict[str, str]:
        """Return the headers with the key; none for a provider that needs no key.

        Raises ModelError("provider_authentication") if the key is not in the environment.
        """
        provider = destination.provider
        key = api_key(provider, self._environ)
        if key is not None:
            return destination.protocol.authorize(key)
        if provider.api_key_env is None:
            return {}
        raise ModelError(
            "provider_authentication",
            f"Provider {provider.name!r} needs a key: set {provider.api_key_env} in the "
            "environment of the server and start it again.",
            provider=provider.name,
        )
