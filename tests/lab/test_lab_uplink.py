"""The link between this machine and a lab lets connections through in one direction only."""

from __future__ import annotations

import multiprocessing
import os
import socket

import pytest

from engine.clouds.lab.sandbox import syscalls, uplink
from engine.clouds.lab.sandbox.iproute import NetworkError, ip_batch, run_in_namespace

pytestmark = [pytest.mark.isolation, pytest.mark.skipif(os.geteuid() != 0, reason="the link needs root")]


def test_the_host_connects_to_the_lab_and_never_the_lab_to_the_host() -> None:
    assert _in_namespaces(_both_directions) == {"host to lab": "connected", "lab to host": "timeout", "udp": "nothing"}


def test_without_a_packet_filter_there_is_no_link() -> None:
    found = _in_namespaces(_without_filter)
    assert found["link"] is None
    assert "cannot link the lab's network and filter it" in found["reason"]
    assert found["left"] is False


def _both_directions() -> dict[str, str]:
    host, answer = _connect()
    found = {}
    assert answer["link"] == "chltest"
    with _listener("10.9.0.1") as inside:
        syscalls.setns(host)
        found["host to lab"] = _try("10.9.0.1", inside.getsockname()[1])
        with _listener("10.9.0.2") as outside, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("10.9.0.2", 0))
            datagrams.settimeout(0.3)
            syscalls.setns(_lab)
            found["lab to host"] = _try("10.9.0.2", outside.getsockname()[1])
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", datagrams.getsockname())
            try:
                found["udp"] = str(datagrams.recv(1))
            except TimeoutError:
                found["udp"] = "nothing"
    return found


def _without_filter() -> dict[str, object]:
    def refuse(arguments, *rest, **more):
        if arguments[0] == "tc":
            raise NetworkError("tc: Operation not supported")
        return run_in_namespace(arguments, *rest, **more)

    uplink.run_in_namespace = refuse
    host, answer = _connect()
    syscalls.setns(host)
    return {**answer, "left": "chltest" in ip_batch(["link show"])}


_lab = -1


def _connect() -> tuple[int, dict]:
    """In a child: a namespace that plays the host, and in it one that plays the lab."""
    global _lab
    syscalls.unshare(syscalls.CLONE_NEWNET)
    ip_batch(["link set lo up"])
    host = os.open("/proc/self/ns/net", os.O_RDONLY)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    ip_batch(["link set lo up", "address replace 10.9.0.1/32 dev lo"])
    _lab = os.open("/proc/self/ns/net", os.O_RDONLY)
    return host, uplink.connect(host, "chltest", "10.9.0.2", "10.9.0.1", ["10.9.0.0/16"])


def _listener(address: str) -> socket.socket:
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen()
    return listener


def _try(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), 0.5).close()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return str(error)
    return "connected"


def _in_namespaces(story) -> dict:
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_tell, args=(story, send))
    process.start()
    assert receive.poll(20), "the story gave no result"
    found = receive.recv()
    process.join()
    return found


def _tell(story, send) -> None:
    send.send(story())
