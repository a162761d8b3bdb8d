"""Messages of strangers, whose properties pamqp can't read: text that is not UTF-8, times beyond the year 9999.

pamqp raises in the middle of a frame, and aiormq then gives up its connection. RabbitMQ delivers the message
again, and no other ever gets through: one message would stop all workers. Neither library has a setting for it.
"""

from pamqp import decode
from pamqp.commands import Basic

_read = Basic.Properties.unmarshal


def read_what_anybody_sends() -> None:
    """Let this process's connections live through such messages. Calling it again changes nothing."""
    Basic.Properties.unmarshal = _read_or_leave_out  # type: ignore[assignment, method-assign]
    # The routing key of a delivery is a stranger's, too, where it came by a `CC` header.
    decode.METHODS["shortstr"] = _short_text


def _read_or_leave_out(properties: Basic.Properties, flags: int, data: bytes) -> None:
    """As if a message had no properties, where one of them can't be read."""
    try:
        _read(properties, flags, data)
    except Exception:  # of what kind depends on what can't be read
        for name in properties.__slots__:
            setattr(properties, name, None)


def _short_text(data: bytes) -> tuple[int, str]:
    length = data[0]
    return length + 1, data[1 : length + 1].decode(errors="backslashreplace")
