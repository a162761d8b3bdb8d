// What pages show: elements, times and values. Whatever the API tells is text, never markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const [h, m, s] = [seconds / 3600, (seconds % 3600) / 60, seconds % 60].map(Math.floor);
  return h ? `${h} h ${m} min` : `${m} min ${s} s`;
}

export const bytes = (count) => `${(count / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 0 })} MiB`;

const brief = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const whole = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat("en", { style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

// What is said of a time, seconds away from now (before it: less than 0), by the class of its element.
const WORDS = {
  ago(away) {
    const found = UNITS.find(([, length]) => Math.abs(away) >= length);
    return found ? relative.format(Math.trunc(away / found[1]), found[0]) : "now";
  },
  since: (away) => (away > -1 ? "0 s" : span(Math.floor(-away))),
};

// In the reader's zone; on its title the exact time, in that zone and in UTC.
export function moment(seconds, words) {
  if (seconds == null) return null;
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  const exact = date.toISOString();
  const text = words ? WORDS[words](seconds - Date.now() / 1000) : brief.format(date);
  return element("time", { class: words, datetime: exact, title: `${whole.format(date)} (${exact})` }, text);
}

// How long ago it was, or how soon it will be.
export const time = (seconds) => moment(seconds, "ago");

// For how long it has been going on.
export const since = (seconds) => moment(seconds, "since");

setInterval(() => {
  if (document.hidden) return;
  for (const [words, tell] of Object.entries(WORDS)) {
    for (const made of document.getElementsByClassName(words)) {
      const text = tell((Date.parse(made.dateTime) - Date.now()) / 1000);
      if (made.textContent !== text) made.textContent = text;
    }
  }
}, 1000);

export const status = (name) => element("span", { class: `status ${name}` }, name);

const SHOWN = 20_000; // characters

// A text that can be folded and copied; of a long one the beginning, and a way to see all of it.
export function block(title, text, open = true) {
  const shown = element("pre", { tabindex: "0", "aria-label": title }, text.slice(0, SHOWN));
  const copy = element("button", { type: "button", onclick: () => navigator.clipboard?.writeText(text) }, "Copy");
  const all = text.length > SHOWN && element(
    "button",
    { type: "button", onclick: () => { shown.textContent = text; all.remove(); } },
    `Show all ${text.length.toLocaleString()} characters`,
  );
  return element("details", { open }, element("summary", {}, title), copy, all || null, shown);
}
