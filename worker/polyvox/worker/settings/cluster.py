"""``[cluster]``: where a process can be reached by the others of its deployment."""

from pydantic import Field

from polyvox.worker.settings.table import Table


class ClusterSettings(Table):
    """``[cluster]``: the address of the live lane, and what secures it.

    ``port`` 0 means any free port. ``advertise`` is the address that the other processes use, with
    or without a port; the default is ``host``, or this machine's address if ``host`` stands for
    all. ``tls_cert`` and ``tls_key`` are the files of the certificate (PEM) that this process
    shows, ``tls_ca`` that of the authorities that have signed those of the others.
    """

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(0, ge=0, le=65535)
    advertise: str | None = Field(None, min_length=1)
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None
