"""Whatever stands in the header opens something where it is the key, and else is refused in words without it."""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from tests.integration.keys import asking_for_keys, key_of

from taskqueue.contract.keys import Role, read_key
from taskqueue_api.http.credentials import COOKIE, credentials_of, shows_key
from taskqueue_api.keys import KEYRING
from taskqueue_api.live.holders import Holder

KEY = "tq_AAAAAAAAAAAA_" + "B" * 43
#: As the server reads a header: what is no UTF-8 is in surrogates.
TEXT = st.text(st.characters(codec=None, exclude_characters="\r\n\0"))


@st.composite
def nearly(draw: st.DrawFn) -> str:
    """The key, here and there another one."""
    text = KEY
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        kind = draw(st.sampled_from(["cut", "put", "double", "case"]))
        if kind == "cut":
            text = text[:start] + text[end:]
        elif kind == "put":
            text = text[:start] + draw(TEXT) + text[start:]
        elif kind == "double":
            text = text[:end] + text[start:]
        else:
            text = text[:start] + text[start:end].swapcase() + text[end:]
    return text


HEADERS = st.one_of(
    TEXT,
    st.builds(
        "{} {}".format,
        st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "Bearer ", "Bearer\t", ""]),
        nearly(),
    ),
    nearly(),
)


async def test_nothing_but_the_key_opens_anything(tmp_path: Path) -> None:
    async with asking_for_keys(tmp_path) as system:
        keyring = system.client.server.app[KEYRING]  # type: ignore[attr-defined]
        key = await key_of(system, Role.READ)

        @settings(max_examples=1000, suppress_health_check=list(HealthCheck), deadline=None)
        @given(st.lists(HEADERS, max_size=2), st.none() | nearly())
        @example([f"Bearer {KEY}"], None)
        @example([f"Bearer {KEY}", f"Bearer {KEY}"], None)
        @example([f"Bearer {KEY}\ud800"], None)
        @example([], "\udcff")
        def show(values: list[str], session: str | None) -> None:
            values = [value.replace(KEY, key) for value in values]
            headers = CIMultiDict([("Authorization", value) for value in values])
            if session is not None and session.isprintable():
                headers["Cookie"] = f"{COOKIE}={session}"
            request = make_mocked_request("GET", "/tasks")
            # Past the mock's own encoding, which the server's parser doesn't have.
            request._headers = CIMultiDictProxy(headers)
            try:
                shown = credentials_of(request)
            except web.HTTPException as error:
                assert error.status in {400, 401}
                assert error.text is not None and not shows_key(error.text)
                return
            found = None if shown is None else keyring.identify(shown)
            is_key = (
                len(values) == 1
                and values[0].partition(" ")[0].lower() == "bearer"
                and (values[0].partition(" ")[2].strip() == key)
            )
            assert isinstance(found, Holder) == is_key
            assert not isinstance(found, str) or not shows_key(found)

        show()


@given(nearly())
def test_a_text_is_read_as_a_key_where_it_is_one(text: str) -> None:
    parts = read_key(text)
    assert parts is None or f"tq_{parts[0]}_{parts[1]}" == text


@pytest.mark.parametrize("cut", [0, 1, 20, 35])
def test_what_is_left_of_a_key_is_recognised_in_a_text(cut: int) -> None:
    assert shows_key(f"?a={KEY[: len(KEY) - cut]}&b")
