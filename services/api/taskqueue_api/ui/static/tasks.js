// The list of tasks: a filter in the page's address, a page of tasks, and what can be done to them.

import { at, ask, may, tell, untilAnswered } from "./api.js";
import { keyboard } from "./keyboard.js";
import { follow } from "./live.js";
import { element, status, time } from "./show.js";
import { VERBS, actOnAll, actOnThese, wentWrong } from "./verbs.js";

const LIMIT = 50;
const NAMES = ["status", "action", "tag", "parent", "created_after", "created_before", "error", "q"];
const TYPED = ["q", "action", "tag", "parent", "error"];
const TIMES = ["created_after", "created_before"];
const FINAL = VERBS.delete.applies;
const $ = (id) => document.getElementById(id);
const form = $("filter"), fresh = $("fresh");

let rows = new Map(); // by id: the task, its row and its checkbox
let chosen = new Set(), unseen = new Set();
let place = -1, asked = 0, paused = false, loaded = false;
let stop = () => {};

const address = () => new URLSearchParams(location.search);

function wanted() {
  const filter = new URLSearchParams();
  for (const [name, value] of address()) if (NAMES.includes(name) && value) filter.append(name, value);
  return filter;
}

async function load() {
  const mine = ++asked;
  const query = wanted(), cursor = address().get("cursor");
  if (cursor) query.set("cursor", cursor);
  query.set("limit", LIMIT);
  try {
    const page = await untilAnswered(() => ask(`tasks?${query}`));
    if (mine === asked) show(page); // else another was asked for meanwhile
  } catch (error) {
    wentWrong(error);
  }
}

function show({ tasks, next }) {
  const here = [...rows.keys()][place];
  rows = new Map(tasks.map((task) => [task.id, row(task)]));
  $("rows").replaceChildren(...[...rows.values()].map(({ tr }) => tr));
  for (const id of chosen) if (!rows.has(id)) chosen.delete(id);
  loaded = true;
  unseen.clear();
  place = [...rows.keys()].indexOf(here);
  mark();
  $("none").hidden = tasks.length > 0;
  // A search looks only so far back at a time.
  $("none").textContent = next ? "Nothing was found yet: Older looks further back." : "No task fits.";
  link($("older"), next);
  link($("newest"), address().has("cursor") ? "" : undefined);
  tellFresh();
  tellChosen();
}

function link(anchor, cursor) {
  anchor.hidden = cursor === undefined;
  const query = wanted();
  if (cursor) query.set("cursor", cursor);
  anchor.href = `?${query}`;
}

function row(task) {
  const box = element("input", { type: "checkbox", "aria-label": `Select ${task.id}` });
  box.checked = chosen.has(task.id);
  box.addEventListener("change", () => choose(task.id, box.checked));
  const tr = element("tr", {},
    element("td", {}, box),
    element("td", { class: "long", title: task.action }, element("a", { href: at(`ui/tasks/${encodeURIComponent(task.id)}`) }, task.action)),
    element("td", {}), element("td", { class: "minor" }),
    element("td", { class: "long minor" }, task.tags.join(", ")),
    element("td", {}, time(task.created_at)),
    element("td", { class: "minor" }),
    element("td", { class: "id minor", title: task.id }, `…${task.id.slice(-8)}`),
  );
  const made = { task, tr, box };
  fill(made);
  return made;
}

// What changes while a task is shown.
function fill({ task, tr }) {
  const progress = task.status === "running" && task.progress ? ` ${Math.round(task.progress.fraction * 100)} %` : "";
  tr.cells[2].replaceChildren(status(task.status), progress);
  tr.cells[3].textContent = task.attempt;
  tr.cells[6].replaceChildren(time(task.processed_at) ?? "");
}

// Those on the page change where they stand; new ones wait until they are asked for, so that nothing moves.
function take(events) {
  const newest = rows.keys().next().value ?? "";
  for (const { id, status, attempt, at, progress } of events) {
    const known = rows.get(id);
    if (known) {
      const ended = FINAL.includes(status) ? at : null;
      Object.assign(known.task, { status, attempt, processed_at: ended, progress });
      fill(known);
    } else if (!searches() && (id > newest || wanted().has("status"))) unseen.add(id);
  }
  tellFresh();
  tellChosen();
}

// Whether text is looked for: events don't tell which new tasks have it.
const searches = () => wanted().has("q") || wanted().has("error");

function tellFresh() {
  fresh.hidden = unseen.size === 0 || address().has("cursor");
  fresh.textContent = `Show ${unseen.size.toLocaleString("en")} new`;
}

function watch() {
  stop();
  unseen.clear();
  if (paused) return;
  const filter = wanted();
  const query = new URLSearchParams([...filter].filter(([name]) => ["status", "action", "tag"].includes(name)));
  stop = follow(`events?${query}`, {
    onEvents: (events) => loaded && take(events),
    onGap: load,
    onState: (live) => { $("live").textContent = live ? "Live" : "Not live: connecting"; },
  });
}

function choose(id, on) {
  chosen[on ? "add" : "delete"](id);
  $("all").querySelector("input").checked = false;
  tellChosen();
}

function tellChosen() {
  const all = $("all").querySelector("input").checked;
  $("page").checked = rows.size > 0 && chosen.size === rows.size;
  $("page").indeterminate = chosen.size > 0 && chosen.size < rows.size;
  $("all").hidden = !may("operate") || rows.size === 0 || chosen.size < rows.size;
  $("chosen").textContent = all ? "All that match" : chosen.size ? `${chosen.size} selected` : "";
  for (const button of $("verbs").children) {
    const { applies } = VERBS[button.dataset.verb];
    button.disabled = !all && ![...chosen].some((id) => applies.includes(rows.get(id).task.status));
  }
}

async function run(verb) {
  try {
    const all = $("all").querySelector("input").checked;
    const fitting = [...chosen].filter((id) => VERBS[verb].applies.includes(rows.get(id).task.status));
    const done = all ? await actOnAll(verb, asBody()) : await actOnThese(verb, fitting);
    if (done === null) return;
    chosen.clear();
    $("all").querySelector("input").checked = false;
    await load();
    $("chosen").textContent = `${verb}: ${done.toLocaleString("en")} done`;
  } catch (error) {
    tell(wentWrong(error));
  }
}

// The filter, as a bulk request has it.
function asBody() {
  const body = {}, filter = wanted();
  for (const name of new Set(filter.keys())) {
    if (name === "status") body.status = filter.getAll(name);
    else if (name.startsWith("created_")) body[name] = Number(filter.get(name)) || filter.get(name);
    else body[name] = filter.get(name);
  }
  return body;
}

function go(query) {
  history.pushState(null, "", `?${query}`);
  begin();
}

function begin() {
  const filter = wanted();
  for (const box of form.elements.status) box.checked = filter.getAll("status").includes(box.value);
  for (const name of TYPED) form.elements[name].value = filter.get(name) ?? "";
  for (const name of TIMES) form.elements[name].value = toLocal(filter.get(name));
  chosen.clear();
  $("all").querySelector("input").checked = false;
  loaded = false;
  place = -1;
  watch();
  load();
}

function apply() {
  const query = wanted();
  for (const name of ["status", ...TYPED, ...TIMES]) query.delete(name);
  for (const [name, value] of new FormData(form)) {
    if (value) query.append(name, TIMES.includes(name) ? new Date(value).toISOString() : value);
  }
  go(query);
}

// A time of the address, as Unix seconds or ISO 8601, in the reader's zone, as a field has it.
function toLocal(text) {
  const date = new Date(Number(text) * 1000 || text);
  if (!text || Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function move(by) {
  place = Math.max(0, Math.min(rows.size - 1, place + by));
  mark();
}

function mark() {
  [...rows.values()].forEach(({ tr }, index) => {
    tr.classList.toggle("here", index === place);
    if (index === place) {
      tr.querySelector("a").focus({ preventScroll: true });
      tr.scrollIntoView({ block: "nearest" });
    }
  });
}

// Suggestions only: who may see some tasks only gets none.
async function suggestTags() {
  const prefix = form.elements.tag.value;
  try {
    const { tags } = await ask(`tags?${new URLSearchParams({ prefix })}`);
    if (prefix === form.elements.tag.value) $("tags").replaceChildren(...tags.map((tag) => element("option", { value: tag })));
  } catch { /* it can be typed all the same */ }
}

for (const moment of ["focus", "input"]) form.elements.tag.addEventListener(moment, suggestTags);
form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
form.addEventListener("change", (event) => event.target.name === "status" && apply());
addEventListener("popstate", begin);
fresh.addEventListener("click", load);
$("all").addEventListener("change", tellChosen);
$("page").addEventListener("change", ({ target }) => {
  const on = target.checked; // which tells the choice so far once the first row is chosen
  for (const [id, { box }] of rows) {
    box.checked = on;
    choose(id, on);
  }
});
$("pause").addEventListener("click", ({ target }) => {
  paused = !paused;
  target.setAttribute("aria-pressed", paused);
  target.textContent = paused ? "Resume" : "Pause";
  watch();
  if (paused) $("live").textContent = "Paused";
  else load();
});
for (const anchor of [$("older"), $("newest")]) {
  anchor.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(new URL(anchor.href).searchParams);
  });
}
if (may("operate")) {
  $("verbs").append(...Object.keys(VERBS).map((verb) =>
    element("button", { type: "button", "data-verb": verb, disabled: true, onclick: () => run(verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}`)));
}
keyboard({
  "/": ["search", () => form.elements.q.focus()],
  j: ["next row", () => move(1)],
  k: ["previous row", () => move(-1)],
  x: ["select the row", () => [...rows.values()][place]?.box.click()],
});

begin();
ask("actions").then(({ actions }) => {
  $("actions").append(...actions.filter(({ name }) => name !== "*").map(({ name }) => element("option", { value: name })));
}, () => {}); // suggestions only
