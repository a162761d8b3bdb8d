"""Which base images the stack is built from."""

import os
from pathlib import Path

import docker
from docker.errors import ImageNotFound

#: The variable of each image, and the stand-in that `deploy/base-images` builds where no registry answers.
_STAND_INS = {
    "PYTHON_IMAGE": "taskqueue-base/python:3.14",
    "RABBITMQ_IMAGE": "taskqueue-base/rabbitmq:4.3",
}


def base_images(root: Path) -> dict[str, str]:
    """What to put into the stack's `.env`: what the environment or the user's `.env` says, else a stand-in that is
    there. Nothing for an image means the public one, the default of docker-compose.yml."""
    chosen = {}
    configured = _read_env(root / ".env") | os.environ
    client = docker.from_env()
    try:
        for variable, stand_in in _STAND_INS.items():
            if image := configured.get(variable):
                chosen[variable] = image
            elif _present(client, stand_in):
                chosen[variable] = stand_in
    finally:
        client.close()
    return chosen


def _present(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _read_env(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in lines}
