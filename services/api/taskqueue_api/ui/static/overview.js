// The overview: what needs attention, how it stands, and what happened in the last hour, day or week.

import { ask, at, keepFresh } from "./api.js";
import { chart, sparkline } from "./charts.js";
import { keyboard } from "./keyboard.js";
import { element, span, status } from "./show.js";
import { wentWrong } from "./verbs.js";

const $ = (id) => document.getElementById(id);
const NAMES = ["1h", "24h", "7d"];
const STATUSES = ["pending", "queued", "running", "completed", "failed", "cancelled"];
const number = (value) => value.toLocaleString("en");
const took = (seconds) => (seconds === null ? "" : span(seconds));
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { weekday: "short", hour: "2-digit", minute: "2-digit" });

const chosen = () => {
  const name = new URLSearchParams(location.search).get("window");
  return NAMES.includes(name) ? name : "1h";
};

function tasks(wanted) {
  const query = new URLSearchParams();
  for (const [name, values] of Object.entries(wanted)) for (const value of [values].flat()) if (value) query.append(name, value);
  return at(`ui/tasks?${query}`);
}

// Where each concern can be looked into, and acted on.
const LEADS = {
  no_worker: () => [["Workers", at("ui/workers")]],
  nothing_completes: () => [["Workers", at("ui/workers")], ["Running tasks", tasks({ status: "running" })]],
  failures: ({ action }) => [["Failed tasks", tasks({ status: "failed", action })], ["Errors", at("ui/errors")]],
  unknown_action: ({ action }) => [["Waiting tasks", tasks({ status: ["pending", "queued"], action })]],
  dead_letters: () => [["Dead letters", at("ui/dead")]],
  backlog_nearly_full: () => [["Waiting tasks", tasks({ status: ["pending", "queued"] })]],
};

function concern(each) {
  const links = (LEADS[each.concern]?.(each) ?? []).flatMap(([words, href]) => [" ", element("a", { href }, words)]);
  return element("li", { class: each.severity }, element("strong", {}, each.text), " ", each.advice, ...links);
}

function cards({ tasks: counts, backlog, drains_in, oldest_waiting, workers, slots }) {
  const byStatus = STATUSES.map((name) =>
    element("a", { class: "card", href: tasks({ status: name }) }, status(name), element("b", {}, number(counts[name]))));
  const facts = {
    Backlog: number(backlog),
    "Drains in": backlog && drains_in !== null ? span(drains_in) : "–",
    "Oldest waits": oldest_waiting === null ? "–" : span(oldest_waiting),
    Workers: number(workers),
    "At a time": number(slots),
  };
  return [...byStatus, ...Object.entries(facts).map(([name, text]) =>
    element("div", { class: "card" }, element("span", { class: "quiet" }, name), element("b", {}, text)))];
}

function charts({ points: all, width, window: name }) {
  const points = all.slice(0, -1); // the last one has only begun
  const tell = name === "1h" ? clock : day;
  const times = points.map((point) => tell.format(new Date(point.at * 1000)));
  const rate = (what) => points.map((point) => (point[what] * 60) / width);
  const times95 = (what, share) => points.map((point) => point[what][share]);
  const a_minute = (value) => `${Number(value.toFixed(1)).toLocaleString("en")} a minute`;
  return [
    chart("Tasks a minute", times, [
      { name: "accepted", kind: "accepted", values: rate("accepted") },
      { name: "completed", kind: "completed", values: rate("completed") },
      { name: "failed", kind: "failed", values: rate("failed") },
    ], a_minute),
    ...[["Wait", "wait"], ["Run", "run"]].map(([title, what]) => chart(title, times, [
      { name: "95 %", kind: "p95", values: times95(what, "p95") },
      { name: "median", kind: "p50", values: times95(what, "p50") },
    ], span)),
  ];
}

function table(points, tell) {
  return points.toReversed().map((point) => element("tr", {},
    element("th", { scope: "row" }, tell.format(new Date(point.at * 1000))),
    ...["accepted", "completed", "failed", "cancelled"].map((what) => element("td", {}, number(point[what]))),
    ...["wait", "run"].map((what) => element("td", {}, took(point[what].p95))),
  ));
}

function action([name, { accepted, completed, failed, wait, run, ended }]) {
  return element("tr", {},
    element("th", { scope: "row", class: "long", title: name }, element("a", { href: tasks({ action: name }) }, name)),
    element("td", {}, number(accepted)), element("td", {}, number(completed)),
    element("td", {}, failed ? element("a", { class: "bad", href: tasks({ action: name, status: "failed" }) }, number(failed)) : "0"),
    element("td", { class: "minor" }, took(wait.p95)), element("td", { class: "minor" }, took(run.p50)), element("td", {}, took(run.p95)),
    element("td", { class: "minor" }, sparkline(ended.slice(0, -1))),
  );
}

let shown = {}; // of each part, the text of what it was made of: what is unchanged keeps its focus and its place

function put(id, facts, make) {
  const text = JSON.stringify(facts);
  if (shown[id] === text) return;
  shown[id] = text;
  $(id).replaceChildren(...make(facts));
}

async function load() {
  const asked = chosen();
  const answer = await ask(`overview?window=${asked}`);
  if (asked !== chosen()) return;
  put("attention", answer.attention, (all) => all.map(concern));
  $("well").hidden = answer.attention.length > 0;
  put("cards", { ...answer, points: null, actions: null, at: null }, cards);
  put("charts", { points: answer.points, width: answer.width, window: answer.window }, charts);
  put("numbers", answer.points, (points) => table(points, answer.window === "1h" ? clock : day));
  const busiest = Object.entries(answer.actions).sort(([, one], [, other]) => other.accepted + other.completed - one.accepted - one.completed);
  put("actions", busiest, (all) => all.map(action));
  $("none").hidden = busiest.length > 0;
  $("found").hidden = false;
}

function choose() {
  for (const anchor of document.querySelectorAll("#windows a")) {
    if (anchor.dataset.window === chosen()) anchor.setAttribute("aria-current", "true");
    else anchor.removeAttribute("aria-current");
  }
}

$("windows").addEventListener("click", (event) => {
  const anchor = event.target.closest("a");
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", anchor.href);
  choose();
  load().catch(() => {}); // what keeps it fresh tells, and tries again
});
addEventListener("popstate", () => { choose(); load().catch(() => {}); });
keyboard({
  1: ["the last hour", () => document.querySelector("[data-window='1h']").click()],
  2: ["the last day", () => document.querySelector("[data-window='24h']").click()],
  3: ["the last week", () => document.querySelector("[data-window='7d']").click()],
});
choose();
keepFresh(load).catch(wentWrong);
