// Lines over time, drawn as SVG. What they show can be read as a table as well.

import { element } from "./show.js";

const WIDTH = 600, HEIGHT = 120;

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Where there is no value, a line is broken; one that stands alone is a dot.
function line(values, most, width, height) {
  const step = width / Math.max(1, values.length - 1);
  let path = "", broken = true;
  values.forEach((value, place) => {
    if (value === null) {
      broken = true;
      return;
    }
    const y = height - (most ? (value / most) * (height - 4) : 0) - 2;
    path += `${broken ? "M" : "L"}${(place * step).toFixed(1)} ${y.toFixed(1)}${broken ? "h0" : ""}`;
    broken = false;
  });
  return path;
}

// `series`: each { name, values, kind }, where `kind` is a class; `tell` puts a value into words.
export function chart(title, times, series, tell) {
  const most = Math.max(0, ...series.flatMap(({ values }) => values));
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const { values, kind } of series) svg.append(drawn("path", { class: kind, d: line(values, most, WIDTH, HEIGHT) }));
  const step = WIDTH / Math.max(1, times.length - 1);
  times.forEach((time, place) => svg.append(drawn(
    "rect",
    { x: (place - 0.5) * step, y: 0, width: step, height: HEIGHT },
    drawn("title", {}, document.createTextNode(
      [time, ...series.map(({ name, values }) => `${name} ${values[place] === null ? "–" : tell(values[place])}`)].join("\n"),
    )),
  )));
  const legend = series.map(({ name, kind }) => element("span", { class: `legend ${kind}` }, name));
  return element("figure", { class: "chart" },
    element("figcaption", {}, title, " ", ...legend),
    svg,
    element("div", { class: "axis", "aria-hidden": "true" },
      element("span", {}, times[0]), element("span", {}, `at most ${tell(most)}`), element("span", {}, times.at(-1))),
  );
}

export function sparkline(values) {
  const svg = drawn("svg", { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(drawn("path", { class: "completed", d: line(values, Math.max(...values), 100, 20) }));
  return svg;
}
