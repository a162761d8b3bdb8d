// The audit: who changed what, newest first. The filter and the page stand in the address.

import { ask, at, untilAnswered } from "./api.js";
import { keyboard } from "./keyboard.js";
import { element, time } from "./show.js";
import { wentWrong } from "./verbs.js";

const LIMIT = 50;
const $ = (id) => document.getElementById(id);
const form = $("filter");
const address = new URLSearchParams(location.search);

function filter() {
  return new URLSearchParams(["operation", "key"].map((name) => [name, address.get(name)]).filter(([, value]) => value));
}

async function load() {
  const query = filter();
  query.set("limit", LIMIT);
  if (address.has("before")) query.set("before", address.get("before"));
  const { entries, next } = await untilAnswered(() => ask(`audit?${query}`));
  $("rows").replaceChildren(...entries.map(row));
  $("none").hidden = entries.length > 0;
  $("newest").hidden = !address.has("before");
  $("newest").href = `?${filter()}`;
  $("older").hidden = next === undefined;
  const older = filter();
  older.set("before", next);
  $("older").href = `?${older}`;
}

function row({ at: when, operation, key, label, target, filter: which, tasks, address: from, request_id }) {
  return element("tr", {},
    element("td", {}, time(when)),
    element("td", {}, operation.replaceAll("_", " ")),
    element("td", {}, key === null ? nobody(from) : label, key && element("span", { class: "id quiet" }, ` ${key}`)),
    element("td", {}, element("span", { class: "id" }, target === null ? which && JSON.stringify(which) : linked(operation, target))),
    element("td", {}, tasks?.toLocaleString("en")),
    element("td", { class: "minor" }, from),
    element("td", { class: "id minor" }, request_id),
  );
}

// Where no key was shown: none was asked for, or it was done in the database itself.
const nobody = (from) => (from === null ? "the command line" : "anybody");

const linked = (operation, target) =>
  operation.endsWith("_task") ? element("a", { href: at(`ui/tasks/${encodeURIComponent(target)}`) }, target) : target;

for (const name of ["operation", "key"]) form.elements[name].value = address.get(name) ?? "";
keyboard({ "/": ["filter", () => form.elements.operation.focus()] });
load().catch(wentWrong);
