"""Settings that name places: a Ray cluster, a store. Each comes back as it is, or ``ValueError`` says what is wrong."""

from __future__ import annotations

from urllib.parse import urlsplit


def cluster_address(value: str, backend: str) -> str:
    """``compute.address``: host:port, and only for the backend that uses it.

    >>> cluster_address("127.0.0.1:6379", "ray")
    '127.0.0.1:6379'
    """
    if backend != "ray":
        raise ValueError(
            f'an address is used by compute.backend = "ray" alone, found {value!r} with "{backend}". Set the backend, '
            f"or leave the address out."
        )
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(
            f"host:port of a Ray cluster's head is needed, found {value!r}. Write, for example, "
            f'"127.0.0.1:6379", as "ray start --head" prints it.'
        )
    return value


def store_place(value: str, *, one_process: bool) -> str:
    """``compute.store``: a folder or a URL, without secrets, that all workers see.

    >>> store_place("s3://bucket/run1", one_process=False)
    's3://bucket/run1'
    """
    url = urlsplit(value)
    shown = value if url.password is None else value.replace(url.password, "***")
    if not value or url.password is not None or (url.scheme == "file" and url.netloc not in ("", "localhost")):
        raise ValueError(
            f"a folder or a URL without a password is needed, found {shown!r}. Write, for example, "
            f'"/mnt/shared/run1", "file:///mnt/shared/run1" or "s3://bucket/run1"; credentials belong where the '
            f"service's own tools look for them."
        )
    if url.scheme == "memory" and not one_process:
        raise ValueError(
            f"a store that all workers see is needed, but {value} is in the memory of one process. Set "
            f'compute.workers = 1 (backend "local"), or give a folder.'
        )
    return value
