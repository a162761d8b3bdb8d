// The keys: who may use the API. A new one is on the page until its maker is done with it, and nowhere else.

import { Away, ask, at, tell, untilAnswered } from "./api.js";
import { keyboard } from "./keyboard.js";
import { element, time } from "./show.js";
import { confirmed, wentWrong } from "./verbs.js";

const $ = (id) => document.getElementById(id);
const form = $("make");

async function load() {
  const { keys } = await untilAnswered(() => ask("keys"));
  $("rows").replaceChildren(...keys.map(row));
}

function row({ id, label, role, scope, created_at, last_used_at, expires_at, revoked_at }) {
  const expired = expires_at !== null && expires_at * 1000 <= Date.now();
  const bound = scope ? [...(scope.actions ?? []), scope.tag_prefix === null ? null : `tags ${scope.tag_prefix}…`].filter(Boolean).join(", ") : "";
  return element("tr", { class: revoked_at === null && !expired ? null : "quiet" },
    element("th", { scope: "row" }, label),
    element("td", {}, role),
    element("td", { class: "minor" }, bound),
    element("td", { class: "minor" }, time(created_at)),
    element("td", {}, time(last_used_at) ?? "never"),
    element("td", { class: "minor" }, time(expires_at) ?? ""),
    element("td", { class: "id minor" }, element("a", { href: at(`ui/audit?${new URLSearchParams({ key: id })}`), title: "What was done with it" }, id)),
    element("td", {}, ...(revoked_at !== null ? ["revoked ", time(revoked_at)] : expired ? ["expired"] : [revoker(id, label)])),
  );
}

const revoker = (id, label) => element("button", { type: "button", "aria-label": `Revoke ${label}`, onclick: () => revoke(id, label) }, "Revoke");

async function revoke(id, label) {
  try {
    if (!(await confirmed("revoke", 1, `key, ${label}`))) return;
    await untilAnswered(() => ask(`keys/${encodeURIComponent(id)}`, { method: "DELETE" }));
    await load();
  } catch (error) {
    tell(wentWrong(error));
  }
}

async function make(event) {
  event.preventDefault();
  const { label, role, ends, actions, tag_prefix } = Object.fromEntries(new FormData(form));
  const names = actions.split("\n").filter(Boolean);
  const scope = { ...(names.length && { actions: names }), ...(tag_prefix && { tag_prefix }) };
  const body = { label, role, ...(ends && { expires_in: Number(ends) }), ...(Object.keys(scope).length && { scope }) };
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const { key } = await ask("keys", { method: "POST", body });
    tell();
    $("secret").textContent = key;
    $("made").hidden = false;
    $("making").open = false;
    $("secret").focus();
    form.reset();
    await load();
  } catch (error) {
    const unknown = error instanceof Away ? " Whether a key was made is not known: the list tells once the page is loaded again." : "";
    tell(wentWrong(error) + unknown);
  } finally {
    button.disabled = false;
  }
}

// Where the browser lets no page copy, as over plain HTTP, it is marked, to be copied by hand.
async function copy() {
  try {
    await navigator.clipboard.writeText($("secret").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("secret"));
    $("copied").textContent = "It is marked: copy it with the keyboard.";
  }
}

function done() {
  $("secret").textContent = $("copied").textContent = "";
  $("made").hidden = true;
}

form.addEventListener("submit", make);
$("copy").addEventListener("click", copy);
$("done").addEventListener("click", done);
addEventListener("pagehide", done); // a page that is kept for the way back keeps no key
keyboard({});
load().catch(wentWrong);
