// What fails, and how often: each error leads to its tasks, where they are retried.

import { ask, at, keepFresh } from "./api.js";
import { keyboard } from "./keyboard.js";
import { element, time } from "./show.js";
import { wentWrong } from "./verbs.js";

const $ = (id) => document.getElementById(id);
const mine = new URLSearchParams(location.search);
let shown = "";

async function load() {
  const { errors, looked_at } = await ask(`errors?${mine}`);
  const text = JSON.stringify(errors);
  if (text !== shown) $("rows").replaceChildren(...errors.map(row)); // else a link would lose the focus
  shown = text;
  $("errors").hidden = errors.length === 0;
  const tasks = `${looked_at.toLocaleString("en")} failed task${looked_at === 1 ? "" : "s"}`;
  $("summary").textContent = errors.length ? `Of the newest ${tasks}. Errors that differ in numbers and ids only are one.` : "No task has failed.";
}

function row({ action, type, message, tasks, first_at, last_at, error }) {
  const query = new URLSearchParams({ ...Object.fromEntries(mine), status: "failed", action, error });
  return element("tr", {},
    element("td", {}, element("a", { href: at(`ui/tasks?${query}`) }, tasks.toLocaleString("en"))),
    element("td", { class: "long", title: action }, action),
    element("th", { scope: "row", class: "error" }, `${type}: ${message}`),
    element("td", { class: "minor" }, time(first_at)),
    element("td", {}, time(last_at)),
  );
}

keyboard({});
keepFresh(load).catch(wentWrong);
