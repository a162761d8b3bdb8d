// The keys that all pages know; each page adds its own.

import { element } from "./show.js";

// `keys`: by key, what it does in words, and a function.
export function keyboard(keys) {
  const known = { ...keys, "?": ["show this help", help] };

  function help() {
    const list = Object.entries(known).flatMap(([key, [words]]) => [
      element("dt", {}, element("code", {}, key)), element("dd", {}, words),
    ]);
    const dialog = element("dialog", { "aria-label": "Keys" },
      element("dl", {}, ...list), element("form", { method: "dialog" }, element("button", {}, "Close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in known)) return;
    event.preventDefault();
    known[event.key][1]();
  });
}
