// The workers: what each one knows, and what it runs.

import { ask, at, keepFresh } from "./api.js";
import { keyboard } from "./keyboard.js";
import { bytes, element, since, time } from "./show.js";
import { wentWrong } from "./verbs.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 20; // tasks of one worker

const rows = new Map(); // by the worker's id: its row, and what it ran when that was filled

async function load() {
  const { workers } = await ask("workers");
  const ids = new Set(workers.map(({ id }) => id));
  for (const [id, { tr }] of rows) {
    if (ids.has(id)) continue;
    tr.remove();
    rows.delete(id);
  }
  for (const worker of workers) {
    if (!rows.has(worker.id)) rows.set(worker.id, row(worker));
    fill(rows.get(worker.id), worker);
  }
  $("workers").hidden = workers.length === 0;
  const most = workers.reduce((sum, { consumers }) => sum + consumers, 0);
  const busy = workers.reduce((sum, { running }) => sum + running.length, 0);
  $("summary").textContent = workers.length
    ? `${count(workers.length, "worker")}: ${busy.toLocaleString("en")} of at most ${count(most, "task")} at a time.`
    : "No worker is there: nothing runs until one starts.";
}

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

// What a worker doesn't change while it lives.
function row({ id, host, pid, queue, actions, executors, versions, started_at }) {
  const knows = actions.map((name) => element("li", {}, name, element("span", { class: "quiet" }, executors[name] && ` ${executors[name]}`)));
  const packages = Object.entries(versions).map(([name, version]) => element("li", {}, `${name} ${version}`));
  const tr = element("tr", {},
    element("th", { scope: "row", title: `${id}, queue ${queue}` }, host, element("span", { class: "quiet" }, ` pid ${pid}`)),
    element("td", {}),
    element("td", {}, element("details", {}, element("summary", {}, count(actions.length, "action")), element("ul", {}, ...knows))),
    element("td", { class: "minor" }, element("ul", {}, ...packages)),
    element("td", { class: "minor" }),
    element("td", { class: "minor" }, time(started_at)),
    element("td", {}),
  );
  $("rows").append(tr);
  return { tr, ran: undefined };
}

function fill(made, { running, memory, consumers, last_seen }) {
  const [, runs, , , remembers, , seen] = made.tr.cells;
  const ran = JSON.stringify([running, consumers]);
  // Else a link would lose the focus.
  if (ran !== made.ran) runs.replaceChildren(...tasks(running, consumers));
  made.ran = ran;
  remembers.textContent = memory === null ? "" : bytes(memory);
  seen.replaceChildren(time(last_seen));
}

function tasks(running, consumers) {
  const shown = running.slice(0, SHOWN).map(({ id, action, attempt, started_at }) => element("li", {},
    element("a", { href: at(`ui/tasks/${encodeURIComponent(id)}`), title: id }, action),
    " for ", since(started_at), attempt > 1 ? `, attempt ${attempt}` : null));
  const more = running.length - shown.length;
  return [
    element("span", { class: "quiet" }, `${running.length} of ${consumers}`),
    element("ul", {}, ...shown, more > 0 ? element("li", {}, `and ${more} more`) : null),
  ];
}

keyboard({});
keepFresh(load).catch(wentWrong);
