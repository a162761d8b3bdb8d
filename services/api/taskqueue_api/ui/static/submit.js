// A task to be submitted, or only to be checked: its action, its data, its options.

import { Refused, ask, at, tell, untilAnswered } from "./api.js";
import { editorOf } from "./data_editor.js";
import { Invalid, parse } from "./json.js";
import { keyboard } from "./keyboard.js";
import { MASKED, mask } from "./mask.js";
import { element } from "./show.js";
import { wentWrong } from "./verbs.js";

const $ = (id) => document.getElementById(id);
const form = $("task"), fields = form.elements;

const known = new Map(); // by name: what GET /actions tells
const editors = new Map(); // by action: what was typed stays there, whichever is chosen meanwhile
let editor;

// By name: what is typed into an option's field, as JSON.
const OPTIONS = {
  priority: (chosen) => JSON.stringify(chosen),
  delay: number,
  run_at: (typed) => JSON.stringify(new Date(typed).toISOString()),
  max_attempts: number,
  timeout: number,
  tags: (typed) => JSON.stringify(typed.split("\n").filter(Boolean)),
};

function number(typed, name) {
  if (!Number.isFinite(Number(typed))) throw new Invalid(name, "not a number");
  return String(Number(typed));
}

function choose() {
  const name = fields.action.value, action = known.get(name);
  if (!editors.has(name)) editors.set(name, editorOf(action?.arguments ?? {}));
  editor = editors.get(name);
  $("editor").replaceChildren(editor.element);
  $("action-about").textContent = name && about(action);
  clear();
}

function about(action) {
  if (!action) return "No worker has told of this action.";
  const defaults = Object.entries(action.defaults).map(([option, value]) => `${option} ${JSON.stringify(value)}`);
  return (action.workers ? "" : "No worker knows it now: its tasks wait for one. ") + (defaults.length ? `It says: ${defaults.join(", ")}.` : "");
}

function data() {
  const text = editor.text();
  if (text.includes(MASKED)) throw new Invalid("", "what is masked is to be typed again");
  return text;
}

// The task as JSON; null where a field has none, which is told.
function written() {
  const wrong = [];
  const attempt = (path, work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Invalid)) throw error;
      wrong.push({ path: path === "data" ? `data.${error.path}` : path, error: error.message });
    }
  };
  const members = [["action", JSON.stringify(fields.action.value)], ["data", attempt("data", data)]];
  for (const [name, toJson] of Object.entries(OPTIONS)) {
    const { value, validity } = fields[name];
    if (validity.badInput) wrong.push({ path: name, error: "not a time" });
    if (value) members.push([name, attempt(name, () => toJson(value, name))]);
  }
  if (!/^[ -~]*$/.test(fields.key.value)) wrong.push({ path: "key", error: "printable ASCII characters only" });
  tellWrong(wrong);
  return wrong.length ? null : `{${members.map(([name, json]) => `"${name}":${json}`).join(",")}}`;
}

// Each error at its field; those that have none together.
function tellWrong(errors) {
  const others = [];
  for (const { path, error } of errors) {
    const words = error.startsWith(`${path}: `) ? error.slice(path.length + 2) : error;
    const [first, ...within] = path.replace(/^tasks\.0\./, "").split(".");
    if (first === "data" ? editor.tell(within.join("."), words) : tellAt(first, words)) continue;
    others.push(error);
  }
  tell(others.join("; "));
  const invalid = form.querySelector("[aria-invalid]");
  if ($("options").contains(invalid)) $("options").open = true;
  invalid?.focus();
}

function tellAt(name, words) {
  if (!fields[name]) return false;
  fields[name].setAttribute("aria-invalid", "true");
  $(`${name}-wrong`).append(element("span", {}, words));
  return true;
}

function clear() {
  tell();
  $("done").replaceChildren();
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const wrong of form.querySelectorAll(".wrong")) wrong.replaceChildren();
}

async function check(body) {
  await untilAnswered(() => ask("tasks/batch?dry_run=true", { method: "POST", body: `{"tasks":[${body}]}` }));
  $("done").replaceChildren("It can be submitted. Nothing was stored.");
}

// Under a key, it can be sent again until it is answered, and is accepted once.
async function submit(body) {
  const headers = { "Idempotency-Key": fields.key.value.trim() || newKey() };
  const { id, status } = await untilAnswered(() => ask("tasks", { method: "POST", body, headers }));
  $("done").replaceChildren("Accepted as ", element("a", { href: at(`ui/tasks/${encodeURIComponent(id)}`) }, id), `, ${status}.`);
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function run(event) {
  event.preventDefault();
  clear();
  const body = written();
  if (body === null) return;
  const buttons = form.querySelectorAll("button[value]");
  for (const button of buttons) button.disabled = true;
  try {
    await (event.submitter?.value === "check" ? check : submit)(body);
  } catch (error) {
    if (error instanceof Refused && error.details.length) tellWrong(error.details);
    else tell(wentWrong(error));
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

// What was submitted once, to be changed.
function fill(task) {
  fields.action.value = task.action;
  choose();
  editor.fill(parse(JSON.stringify(task.data, mask)));
  const given = { max_attempts: task.max_attempts, timeout: task.timeout, tags: task.tags.join("\n"), priority: task.priority === "normal" ? "" : task.priority };
  for (const [name, value] of Object.entries(given)) fields[name].value = value ?? "";
  $("options").open = Object.values(given).some(Boolean);
}

async function begin() {
  const query = new URLSearchParams(location.search), like = query.get("like");
  for (const action of (await untilAnswered(() => ask("actions"))).actions) known.set(action.name, action);
  $("actions").append(...[...known.keys()].filter((name) => name !== "*").map((value) => element("option", { value })));
  fields.action.value = query.get("action") ?? "";
  choose();
  form.hidden = false;
  if (like) fill(await untilAnswered(() => ask(`tasks/${encodeURIComponent(like)}`)));
}

fields.action.addEventListener("change", choose);
form.addEventListener("submit", run);
keyboard({ "/": ["choose the action", () => fields.action.focus()] });
begin().catch(wentWrong);
