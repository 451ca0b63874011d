"""Networks that connect the two nodes of a run: the loopback interface, or two network namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.forked import NAMESPACE_VARIABLE


@dataclass(frozen=True)
class Network:
    """The network of two nodes."""

    addresses: tuple[str, str] = ("127.0.0.1", "127.0.0.1")
    """IP addresses of the nodes."""
    interface: str = "lo"
    """Network interface through which the nodes are connected."""
    namespaces: tuple[str, str] | None = None
    """Names of the nodes' network namespaces."""

    def environment(self, number: int) -> dict[str, str]:
        """Return the environment variables for the commands of a node."""
        namespace = {} if self.namespaces is None else {NAMESPACE_VARIABLE: self.namespaces[number]}
        return {"GLOO_SOCKET_IFNAME": self.interface, **namespace}


LOOPBACK = Network()


class NamespaceError(RuntimeError):
    """Network namespaces cannot be created."""


@contextlib.contextmanager
def two_namespaces() -> Iterator[Network]:
    """Return a context with two new network namespaces that only a pair of virtual interfaces connects.

    Raises:
        NamespaceError: if they cannot be created; gives the reason.
    """
    # Debian installs ip in /usr/sbin, which is not on the path of every user.
    ip = shutil.which("ip", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if ip is None:
        raise NamespaceError("requires the program ip of the package iproute2")
    names = (f"midway-{os.getpid()}-0", f"midway-{os.getpid()}-1")
    network = Network(("10.77.0.1", "10.77.0.2"), "nodes", names)
    commands = [["netns", "add", name] for name in names]
    # Both interfaces are created in their namespaces, so the names do not collide with those of the machine.
    commands += [
        ["link", "add", "nodes", "netns", names[0], "type", "veth", "peer", "name", "nodes", "netns", names[1]]
    ]
    for name, address in zip(names, network.addresses, strict=True):
        commands += [
            ["-n", name, "address", "add", f"{address}/24", "dev", "nodes"],
            ["-n", name, "link", "set", "nodes", "up"],
            ["-n", name, "link", "set", "lo", "up"],
        ]
    try:
        for command in commands:
            done = subprocess.run([ip, *command], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NamespaceError(f"cannot create network namespaces: {done.stderr.strip()}")
        yield network
    finally:
        for name in names:  # with a namespace, its interfaces are deleted
            subprocess.run([ip, "netns", "delete", name], capture_output=True, check=False)
