// One task: where it stands, how it came there, what it was given and what came of it.

import { at, ask, may, tell, untilAnswered } from "./api.js";
import { keyboard } from "./keyboard.js";
import { follow } from "./live.js";
import { MASKED, mask } from "./mask.js";
import { block, element, moment, span, status } from "./show.js";
import { VERBS, act, confirmed, wentWrong } from "./verbs.js";

const id = decodeURIComponent(location.pathname.split("/").pop());
const path = `tasks/${encodeURIComponent(id)}`;
const $ = (name) => document.getElementById(name);
const AGAIN = 500; // milliseconds between two times that a task which changes is read

let task, due, texts = "", stop = () => {};

async function load() {
  due = undefined;
  try {
    task = await untilAnswered(() => ask(path));
  } catch (error) {
    $("id").textContent = wentWrong(error);
    return stop();
  }
  show();
}

function show() {
  document.title = `${task.action} · taskqueue`;
  $("action").textContent = task.action;
  $("status").replaceChildren(status(task.status), task.cancel_requested && task.status === "running" ? ", asked to stop" : "");
  $("id").textContent = task.id;
  $("verbs").replaceChildren(...verbs());
  $("progress").replaceChildren(...progress());
  $("facts").replaceChildren(...facts());
  $("timeline").replaceChildren(...timeline());
  showTexts();
}

function verbs() {
  const like = element("a", { href: at(`ui/submit?${new URLSearchParams({ like: id })}`) }, "Submit another like it");
  const fitting = Object.entries(VERBS).filter(([, { applies }]) => may("operate") && applies.includes(task.status));
  return [
    ...fitting.map(([verb]) => element("button", { type: "button", onclick: () => run(verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}`)),
    ...(may("submit") ? [like] : []),
  ];
}

async function run(verb) {
  try {
    if (!(await confirmed(verb, 1))) return;
    const done = await act(verb, id);
    if (done && verb === "delete") return location.assign(at("ui/tasks"));
    await load();
    watch();
    if (!done) tell(`The task is ${task.status}: there is nothing to ${verb}.`);
  } catch (error) {
    tell(wentWrong(error));
  }
}

function progress() {
  if (task.status !== "running" || !task.progress) return [];
  const { fraction, message } = task.progress;
  return [element("progress", { value: fraction, max: 1, "aria-label": "Progress" }), ` ${Math.round(fraction * 100)} % ${message ?? ""}`];
}

function facts() {
  const toTask = (other) => element("a", { href: at(`ui/tasks/${encodeURIComponent(other)}`) }, other);
  const told = {
    Tags: task.tags.length ? element("span", {}, ...task.tags.map((tag) => [element("a", { href: at(`ui/tasks?${new URLSearchParams({ tag })}`) }, tag), " "]).flat()) : null,
    Priority: task.priority,
    Attempts: `${task.attempt}${task.max_attempts ? `, ${task.failures} of ${task.max_attempts} failed` : ""}`,
    Timeout: task.timeout && span(task.timeout),
    "Waits for": task.waiting_for,
    Parent: task.parent && toTask(task.parent),
    Children: task.children.length ? element("span", {}, ...task.children.map((child) => [toTask(child), " "]).flat()) : null,
    Request: task.request_id,
  };
  return Object.entries(told).filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

function timeline() {
  const steps = [["Accepted", task.created_at]];
  if (!task.attempts.length && task.run_at > task.created_at) steps.push(["Due", task.run_at]);
  task.attempts.forEach(({ number, worker, started_at, ended_at, outcome, error }, index) => {
    const took = ended_at == null ? "running" : `${outcome} after ${span(ended_at - started_at)}`;
    steps.push([`Attempt ${number} by ${worker}: ${took}${error ? `, ${error.type}: ${error.message}` : ""}`, started_at]);
    const next = task.attempts[index + 1]?.started_at ?? (task.status === "pending" ? task.run_at : null);
    if (ended_at != null && next > ended_at) steps.push([`Waits ${span(next - ended_at)} for the next attempt`, ended_at]);
  });
  if (task.attempts.length && task.status === "pending") steps.push(["Next attempt", task.run_at]);
  if (task.processed_at) steps.push([`${task.status[0].toUpperCase()}${task.status.slice(1)}`, task.processed_at]);
  return steps.map(([words, when]) => element("li", {}, moment(when), ` ${words}`));
}

// Made anew only where they changed: a reader may have unfolded or marked some of it.
function showTexts() {
  const told = JSON.stringify([task.data, task.result, task.error]);
  if (told === texts) return;
  texts = told;
  const pretty = (value) => JSON.stringify(value, mask, 2);
  $("texts").replaceChildren(
    ...(task.status === "completed" ? [block("Result", pretty(task.result))] : []),
    ...(task.error ? [block("Error", task.error.traceback ?? `${task.error.type}: ${task.error.message}`)] : []),
    block("Data", pretty(task.data)),
    again().includes(MASKED) ? element("p", { class: "quiet" }, "What is masked is to be filled in before it is submitted again.") : "",
    block("Submit it again: curl", curl(), false),
    block("Submit it again: Python", python(), false),
  );
}

// What else it was submitted with. (A retry changes `run_at`; one that is over says nothing any more.)
function options() {
  const { priority, max_attempts, timeout, tags, attempts, run_at } = task;
  return {
    ...(priority !== "normal" && { priority }),
    ...(max_attempts !== null && { max_attempts }),
    ...(timeout !== null && { timeout }),
    ...(tags.length && { tags }),
    ...(!attempts.length && run_at * 1000 > Date.now() && { run_at }),
  };
}

const again = () => JSON.stringify({ action: task.action, data: task.data, ...options() }, mask);

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl() {
  const url = new URL(at("tasks"), location.href).href;
  const key = may("admin") && !document.querySelector(".who") ? "" : ` -H "Authorization: Bearer $TASKQUEUE_KEY"`;
  return `curl -X POST ${quoted(url)} -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(again())}`;
}

// A string of JSON in ASCII is one of Python's, too, but for what JSON has in two halves.
function python() {
  const ascii = (value) => JSON.stringify(value).replace(/[^\x20-\x7e]/gu, (c) => `\\U${c.codePointAt(0).toString(16).padStart(8, "0")}`);
  const url = new URL(at("."), location.href).href.replace(/\/$/, "");
  const given = Object.entries(options()).map(([name, value]) => `, ${name}=${ascii(value)}`).join("");
  return `import json\nfrom taskqueue.client import Client\n\nwith Client(${ascii(url)}) as client:\n    client.submit(${ascii(task.action)}, json.loads(${ascii(JSON.stringify(task.data, mask))})${given})`;
}

function watch() {
  stop();
  stop = follow(`${path}/events`, {
    onEvents(events) {
      const last = events.at(-1);
      if (task && last.status === task.status && last.attempt === task.attempt) {
        task.progress = last.progress ?? task.progress;
        $("progress").replaceChildren(...progress());
      } else due ??= setTimeout(load, AGAIN);
      // Else the stream, which has ended, would be asked for again and again.
      if (VERBS.delete.applies.includes(last.status)) stop();
    },
    onGap: load,
  });
}

keyboard({ u: ["back to the list", () => location.assign(at("ui/tasks"))] });
load();
watch();
