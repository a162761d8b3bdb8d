// The API, as its pages ask it: where it is, what their reader may, and what to say when it doesn't answer.

import { parse } from "./json.js";

const { root, may: roles } = document.documentElement.dataset;
const trouble = document.getElementById("trouble");

export const may = (role) => roles.split(" ").includes(role);

export const at = (path) => root + path;

export class Refused extends Error {
  constructor(status, answer) {
    super(answer?.error ?? `the API answered ${status}`);
    this.status = status;
    this.details = answer?.details ?? [];
  }
}

// Nothing was answered, or that it can't be answered now: worth another try.
export class Away extends Error {}

// `body`: what becomes JSON, or JSON already.
export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  let answer, text;
  try {
    answer = await fetch(at(path), {
      method,
      body: body && (typeof body === "string" ? body : JSON.stringify(body)),
      headers: body ? { "Content-Type": "application/json", ...headers } : headers,
    });
    text = await answer.text();
  } catch {
    throw new Away("The API doesn't answer.");
  }
  let json;
  try {
    json = text ? parse(text) : null;
  } catch {
    json = null; // a proxy's own page
  }
  if (answer.status === 401) {
    signIn();
    throw new Refused(401, json);
  }
  if (answer.status >= 502) throw new Away(`The API can't answer now: ${json?.error ?? answer.status}.`);
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

function signIn() {
  const here = new URL(location.href);
  const base = new URL(root, here).pathname;
  location.assign(at(`ui/sign-in?${new URLSearchParams({ next: here.pathname.slice(base.length) + here.search })}`));
}

// Says what is wrong until the next call without words.
export function tell(text = "") {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// Runs what asks the API until it is answered: again every two seconds while it is away.
export async function untilAnswered(work) {
  for (;;) {
    try {
      const value = await work();
      tell();
      return value;
    } catch (error) {
      if (!(error instanceof Away)) {
        tell(error.message);
        throw error;
      }
      tell(`${error.message} Trying again.`);
      await seenAgain();
    }
  }
}

// Runs it now and every two seconds, for as long as the page is seen. It ends with what the API refuses, which is told.
export async function keepFresh(work) {
  for (;;) {
    await untilAnswered(work);
    await seenAgain();
  }
}

const AGAIN = 2000; // milliseconds

// Two seconds later; where the page isn't seen then, once it is.
async function seenAgain() {
  await new Promise((resolve) => setTimeout(resolve, AGAIN));
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}
