"""The dashboard's pages of keys and of the audit, in a browser."""

import re

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from tests.browser.guarded import Guarded
from tests.browser.visits import barriers
from tests.integration.programs import Programs

from taskqueue.contract.keys import Role, read_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=http://127.0.0.2:9/x onerror=alert(1)>"


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(programs: Programs) -> Guarded:
    return await Guarded.start(programs)


async def test_a_key_is_made_shown_once_and_revoked(
    browser: Browser, guarded: Guarded, programs: Programs
) -> None:
    page, faults = await guarded.signed_in(browser, guarded.admin)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("link", name="Keys").click()
    await page.get_by_text("Make a key").click()
    await page.get_by_label("Label").fill(MARKUP)
    await page.get_by_label("Role").select_option("operate")
    await page.get_by_label("Ends").select_option(label="after 30 days")
    await page.get_by_label("with a tag that begins").fill("acme:")
    await page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret")
    await expect(secret).to_be_focused()
    key = await secret.inner_text()
    assert read_key(key)
    await page.get_by_role("button", name="Copy").click()
    await expect(page.locator("#copied")).to_have_text("Copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == key
    assert await barriers(page) == []
    assert key not in page.url and key not in programs.started[0].errors
    await page.get_by_role("button", name="Done").click()
    assert key not in await page.content()
    row = page.locator("#rows tr").filter(has_text=MARKUP)
    await expect(row).to_contain_text("tags acme:…")
    assert (await guarded.ask("GET", "/tasks", key))["count"] == 0
    [made] = [key for key in (await guarded.ask("GET", "/keys"))["keys"] if key["label"] == MARKUP]
    assert made["expires_at"] - made["created_at"] == pytest.approx(30 * 86400, abs=1)
    await row.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Back").click()
    assert "error" not in await guarded.ask("GET", "/tasks", key)
    await row.get_by_role("button", name="Revoke").click()
    await dialog.get_by_role("button", name=re.compile("^Revoke 1 key")).click()
    await expect(row).to_contain_text("revoked")
    assert "revoked" in (await guarded.ask("GET", "/tasks", key))["error"]
    await page.reload()
    assert key not in await page.content()
    assert faults.seen == []
    await page.context.close()


async def test_what_can_be_no_key_is_refused_in_words(browser: Browser, guarded: Guarded) -> None:
    page, faults = await guarded.signed_in(browser, guarded.admin)
    await page.goto("/ui/keys")
    await page.get_by_text("Make a key").click()
    await page.get_by_label("Label").fill("bound")
    await page.get_by_label("Role").select_option("admin")
    await page.get_by_label("with a tag that begins").fill("acme:")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("alert")).to_contain_text("an admin's key can't be bound")
    await expect(page.get_by_label("Label")).to_have_value("bound")
    faults.expect("Failed to load resource")
    await page.context.close()


async def test_the_audit_is_paged_and_filtered_by_its_address(browser: Browser, guarded: Guarded) -> None:
    for number in range(51):
        await guarded.key_of(Role.READ, f"key {number}")
    operator = await guarded.key_of(Role.OPERATE, MARKUP)
    task = await guarded.ask("POST", "/tasks", json={"action": "uppercase", "delay": 3600})
    await guarded.ask("POST", f"/tasks/{task['id']}/cancel", operator)
    await guarded.ask("POST", "/tasks/delete", operator, json={"status": ["cancelled"], "tag": MARKUP})
    await guarded.ask("POST", "/tasks/delete", operator, json={"status": ["cancelled"]})
    page, faults = await guarded.signed_in(browser, guarded.admin)
    await page.get_by_role("link", name="Audit").click()
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(50)
    await expect(rows.nth(0)).to_contain_text(re.compile('delete tasks.*"cancelled"'))
    await expect(rows.nth(0)).to_contain_text(MARKUP)
    await expect(rows.nth(1).get_by_role("link", name=task["id"])).to_be_visible()
    assert await barriers(page) == []
    await page.get_by_role("link", name="Older").click()
    await expect(rows.last).to_contain_text("the command line")
    await expect(page.get_by_role("link", name="Older")).to_be_hidden()
    await page.go_back()
    await page.get_by_label("What was done").select_option("cancel_task")
    await page.get_by_role("button", name="Filter").click()
    await expect(rows).to_have_count(1)
    assert "operation=cancel_task" in page.url
    await page.reload()
    await expect(page.get_by_label("What was done")).to_have_value("cancel_task")
    await page.get_by_label("Key's id").fill("nobody")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("Nothing was changed that fits.")).to_be_visible()
    await page.goto("/ui/keys")
    await page.get_by_role("row").filter(has_text=MARKUP).get_by_title("What was done with it").click()
    await expect(rows).to_have_count(2)
    assert faults.seen == []
    await page.context.close()


@pytest.mark.parametrize("role", Role)
async def test_who_signs_in_sees_what_their_role_may(browser: Browser, guarded: Guarded, role: Role) -> None:
    task = await guarded.ask("POST", "/tasks", json={"action": "uppercase", "delay": 3600})
    page, faults = await guarded.signed_in(browser, await guarded.key_of(role))
    navigation = page.get_by_role("navigation", name="Pages", exact=True)
    for title, needed in {"Tasks": Role.READ, "Workers": Role.READ, "Submit": Role.SUBMIT, "Keys": Role.ADMIN,
                          "Audit": Role.ADMIN}.items():  # fmt: skip
        await expect(navigation.get_by_role("link", name=title)).to_have_count(int(role.includes(needed)))
    await expect(page.get_by_text(f"a {role} ({role})")).to_be_visible()
    await page.goto(f"/ui/tasks/{task['id']}")
    await expect(page.locator("#status")).to_contain_text("pending")
    await expect(page.get_by_role("link", name="Submit another like it")).to_have_count(
        int(role.includes(Role.SUBMIT))
    )
    cancel = page.locator("#verbs").get_by_role("button", name="Cancel")
    if role.includes(Role.OPERATE):
        await cancel.click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel 1 task").click()
        await expect(page.locator("#status")).to_contain_text("cancelled")
    else:
        await expect(cancel).to_have_count(0)
    await page.goto("/ui/keys")
    if role is Role.ADMIN:
        await expect(page.get_by_text("Make a key")).to_be_visible()
    else:
        await expect(page.locator("main")).to_contain_text(f"needs the role admin; your key's role is {role}")
        assert await barriers(page) == []
        faults.expect("status of 403")
    assert faults.seen == []
    await page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_admins_pages_have_no_barrier_and_fit_a_phone(
    browser: Browser, guarded: Guarded, scheme: str
) -> None:
    page, faults = await guarded.signed_in(browser, guarded.admin)
    await guarded.key_of(Role.READ, "x" * 100)
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in ("/ui/keys", "/ui/audit"):
        for width in (1200, 360):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.goto(path)
            await expect(page.locator("#rows tr").first).to_be_visible()
            assert await barriers(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults.seen == []
    await page.context.close()
