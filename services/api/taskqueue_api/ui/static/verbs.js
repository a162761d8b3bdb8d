// What can be done to tasks: which statuses it applies to, and how it is asked for.

import { Away, Refused, ask } from "./api.js";
import { element } from "./show.js";

export const VERBS = {
  cancel: { applies: ["pending", "queued", "running"], of: (id) => [`tasks/${id}/cancel`, "POST"] },
  retry: { applies: ["failed", "cancelled"], of: (id) => [`tasks/${id}/retry`, "POST"] },
  delete: { applies: ["completed", "failed", "cancelled"], of: (id) => [`tasks/${id}`, "DELETE"] },
};

// Above so many tasks their number is to be typed.
const MANY = 100;

// To one task; false where its status doesn't allow it any more.
export async function act(verb, id) {
  const [path, method] = VERBS[verb].of(encodeURIComponent(id));
  try {
    await ask(path, { method });
    return true;
  } catch (error) {
    if (error instanceof Refused && [404, 409].includes(error.status)) return false;
    throw error;
  }
}

// To all that fit a filter: how many there were. One that names nothing is narrowed to what the verb applies to.
export async function actOnAll(verb, filter) {
  const body = Object.keys(filter).length ? filter : { status: VERBS[verb].applies };
  const { count } = await ask(`tasks/${verb}`, { method: "POST", body: { ...body, dry_run: true } });
  if (!(await confirmed(verb, count))) return null;
  return (await ask(`tasks/${verb}`, { method: "POST", body })).count;
}

// To these, 1,000 at most: how many it was done to.
export async function actOnThese(verb, ids) {
  if (!(await confirmed(verb, ids.length))) return null;
  return (await ask(`tasks/${verb}`, { method: "POST", body: { ids } })).count;
}

export function confirmed(verb, count, noun = "task") {
  const what = `${verb[0].toUpperCase()}${verb.slice(1)} ${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const typed = count > MANY ? element("input", { inputmode: "numeric", autocomplete: "off", "aria-label": `Number of ${noun}s` }) : null;
  const go = element("button", { value: "yes", class: "main", disabled: typed !== null || count === 0 }, what);
  const dialog = element("dialog", { "aria-label": what },
    element("form", { method: "dialog" },
      element("p", {}, count ? `${what}?` : `There is nothing to ${verb}.`),
      typed && element("p", {}, `Type ${count} to confirm: `, typed),
      element("div", { class: "bar" }, go, element("button", { value: "", autofocus: true }, "Back")),
    ),
  );
  typed?.addEventListener("input", () => { go.disabled = typed.value.trim() !== String(count); });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

export const wentWrong = (error) => {
  if (!(error instanceof Away || error instanceof Refused)) throw error;
  return error.message;
};
