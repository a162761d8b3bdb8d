"""From where the API can be reached, as far as its settings tell."""

from ipaddress import ip_address

from taskqueue.process import BadSettingsError
from taskqueue.settings import Settings


def refuse_open_door(settings: Settings) -> None:
    """Let an API start that asks for keys, or that only this machine reaches.

    Raises:
        BadSettingsError: whoever reaches it from elsewhere could do all.
    """
    if settings.auth != "off" or _is_here(settings.host):
        return
    if settings.published_on and _is_here(settings.published_on):
        return
    where = (
        f"its port is published on {settings.published_on}"
        if settings.published_on
        else f"TASKQUEUE_HOST is {settings.host}"
    )
    raise BadSettingsError(
        f"the API would be open to whoever reaches it from elsewhere: {where}, and TASKQUEUE_AUTH is off. "
        "TASKQUEUE_AUTH=on asks for keys (`taskqueue keys create` makes one); TASKQUEUE_AUTH=proxy says that a "
        "proxy in front checks who asks; and where the port of a container is published on loopback only, "
        "TASKQUEUE_PUBLISHED_ON=127.0.0.1 says that"
    )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
