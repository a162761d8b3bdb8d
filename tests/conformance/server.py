"""RabbitMQ in a container, and what tests do to it."""

import os
import secrets
import socket
import time
from contextlib import suppress

import docker
from docker.errors import ImageNotFound
from testcontainers.core.container import DockerContainer

USER, PASSWORD = "taskqueue", "s3cret-of-the-tests"
#: Seconds that a RabbitMQ may take to start on a busy machine.
START_TIMEOUT = 60


def image_of(version: str) -> str:
    """The image of this version: the one that is asked for, else a local one, else the public one."""
    variable = "RABBITMQ_IMAGE" if version == "4.3" else f"RABBITMQ{version.replace('.', '')}_IMAGE"
    if image := os.environ.get(variable):
        return image
    local, public = f"taskqueue-base/rabbitmq:{version}", f"rabbitmq:{version}-management"
    client = docker.from_env()
    try:
        client.images.get(local)
    except ImageNotFound:
        return public
    finally:
        client.close()
    return local


def free_port() -> int:
    """A port of the loopback address that nobody listens on, from below those that Linux gives to connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RabbitServer:
    """One RabbitMQ, on a port that stays the same when it is started again."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.port = free_port()
        self.url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"
        self._container = (
            DockerContainer(image_of(version), hostname="rabbitmq")
            .with_bind_ports(5672, self.port)
            .with_envs(RABBITMQ_DEFAULT_USER=USER, RABBITMQ_DEFAULT_PASS=PASSWORD)
        )

    def start(self) -> None:
        self._container.start()

    def remove(self) -> None:
        self._container.stop()

    def wait_ready(self) -> None:
        """Return once it answers as AMQP 0-9-1 does, with its Connection.Start frame."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    connection.sendall(b"AMQP\x00\x00\x09\x01")
                    if connection.recv(1) == b"\x01":
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"RabbitMQ {self.version} did not start:\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        return b"".join(self._container.get_logs()).decode()

    def ctl(self, *command: str) -> None:
        """Run `rabbitmqctl`."""
        result = self._container.get_wrapped_container().exec_run(["rabbitmqctl", "--quiet", *command])
        assert result.exit_code == 0, result.output

    def freeze(self) -> None:
        """Stop all its processes, with their connections open, as SIGSTOP does."""
        self._container.get_wrapped_container().pause()

    def thaw(self) -> None:
        self._container.get_wrapped_container().unpause()

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def start_again(self) -> None:
        self._container.get_wrapped_container().start()
