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

const whole = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });

// In the reader's zone; the exact time, in UTC, on its title.
export function time(seconds) {
  if (seconds == null) return null;
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  const exact = date.toISOString();
  return element("time", { datetime: exact, title: exact }, whole.format(date));
}

export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const [h, m, s] = [seconds / 3600, (seconds % 3600) / 60, seconds % 60].map(Math.floor);
  return h ? `${h} h ${m} min` : `${m} min ${s} s`;
}

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
