// The API's events, for as long as the page is seen: handed over together, a few times a second.

import { at } from "./api.js";

const EVERY = 250, AGAIN = 3000; // milliseconds

// `onEvents` gets what has changed; `onGap` is called where something may have been missed; `onState` with whether
// the events come.
export function follow(path, { onEvents, onGap, onState = () => {} }) {
  let source, later, due, ended = false, waiting = [];

  function open() {
    clearTimeout(later);
    if (ended || document.hidden || source) return;
    source = new EventSource(at(path));
    let gap = false;
    source.onopen = () => {
      onState(true);
      if (gap) onGap();
      gap = false;
    };
    source.onerror = () => {
      onState(false);
      gap = true;
      if (source.readyState !== EventSource.CLOSED) return; // else it connects again by itself
      close();
      later = setTimeout(reopen, AGAIN);
    };
    for (const kind of ["status", "progress"]) source.addEventListener(kind, take);
    source.addEventListener("reset", () => onGap());
  }

  function take({ data }) {
    waiting.push(JSON.parse(data));
    due ??= setTimeout(hand, EVERY);
  }

  function hand() {
    due = undefined;
    const events = waiting;
    waiting = [];
    if (!ended) onEvents(events);
  }

  function close() {
    source?.close();
    source = undefined;
  }

  function reopen() {
    if (ended || document.hidden) return;
    onGap();
    open();
  }

  function look() {
    if (document.hidden) {
      clearTimeout(later);
      close();
    } else reopen();
  }

  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    ended = true;
    clearTimeout(later);
    document.removeEventListener("visibilitychange", look);
    close();
  };
}
