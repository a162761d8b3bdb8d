// The dead letters: why each one is no task, and what can be done to them. It looks only when it is asked to, since
// whoever looks hides them from all others meanwhile.

import { ask, may, tell, untilAnswered } from "./api.js";
import { keyboard } from "./keyboard.js";
import { block, element, time } from "./show.js";
import { confirmed, wentWrong } from "./verbs.js";

const LIMIT = 100;
const MOST = 1000; // that one request ends
const BEGINNING = 60; // characters of a message
const $ = (id) => document.getElementById(id);
const all = $("all").querySelector("input"), page = $("page"); // nobody selects who may change nothing

let boxes = new Map(); // by the letter's id
let total = 0;

async function load() {
  const found = await untilAnswered(() => ask(`dead?limit=${LIMIT}`));
  const before = chosen();
  total = found.total;
  boxes = new Map(found.letters.map(({ id }) => [id, box(id, before.includes(id))]));
  $("rows").replaceChildren(...found.letters.map(row));
  $("letters").hidden = found.count === 0;
  $("summary").textContent = summary(found.count);
  all.checked = false;
  tellChosen();
}

function summary(count) {
  if (total === 0) return "There are none.";
  return count < total ? `The oldest ${number(count)} of ${number(total)}.` : `${number(total)} in all.`;
}

const number = (count) => count.toLocaleString("en");

function box(id, checked) {
  const made = element("input", { type: "checkbox", "aria-label": `Select ${id}`, onchange: () => { all.checked = false; tellChosen(); } });
  made.checked = checked;
  return made;
}

function row({ id, reason, died_at, message, size, truncated }) {
  const beginning = message.slice(0, BEGINNING) + (message.length > BEGINNING || truncated ? "…" : "");
  const text = block(beginning || "(empty)", message, false);
  if (truncated) text.append(element("p", { class: "quiet" }, "This is its beginning only."));
  return element("tr", {},
    may("operate") ? element("td", {}, boxes.get(id)) : null,
    element("td", { class: "why" }, reason),
    element("td", {}, time(died_at) ?? "not known"),
    element("td", { class: "message" }, text),
    element("td", { class: "minor" }, number(size)),
    element("td", { class: "id minor" }, id),
  );
}

const chosen = () => [...boxes].filter(([, { checked }]) => checked).map(([id]) => id);

function tellChosen() {
  if (!page) return;
  const count = chosen().length, most = Math.min(total, MOST);
  page.checked = count > 0 && count === boxes.size;
  page.indeterminate = count > 0 && count < boxes.size;
  $("all").hidden = !page.checked || boxes.size === total;
  $("all").querySelector("span").textContent = most < total ? `the oldest ${number(most)}` : `all ${number(total)}`;
  $("chosen").textContent = all.checked ? `${number(most)} selected` : count ? `${number(count)} selected` : "";
  for (const button of $("verbs").children) button.disabled = count === 0;
}

async function run(verb) {
  const ids = chosen(), most = Math.min(total, MOST);
  if (!(await confirmed(verb, all.checked ? most : ids.length, "dead letter"))) return;
  const body = all.checked ? { all: true, limit: most } : { ids };
  try {
    const { count, left } = await ask(`dead/${verb}`, { method: "POST", body });
    for (const made of boxes.values()) made.checked = false;
    await load();
    $("chosen").textContent = `${verb}: ${number(count)} done, ${number(left)} left`;
  } catch (error) {
    const what = wentWrong(error);
    await look();
    tell(what);
  }
}

let looking; // once at a time, however often it is asked for while nobody answers
const look = () => (looking ??= load().catch(wentWrong).finally(() => { looking = undefined; }));

$("again").addEventListener("click", look);
all.addEventListener("change", tellChosen);
page?.addEventListener("change", () => {
  const on = page.checked; // which tells the choice so far once that has changed
  for (const made of boxes.values()) made.checked = on;
  all.checked = false;
  tellChosen();
});
if (may("operate")) {
  $("verbs").append(...["requeue", "drop"].map((verb) =>
    element("button", { type: "button", disabled: true, onclick: () => run(verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}`)));
}
keyboard({ r: ["look again", look] });
look();
