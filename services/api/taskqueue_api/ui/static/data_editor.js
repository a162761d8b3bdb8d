// The data of a task: in a form, where the schema of its action makes one, or as JSON.

import { checked, parse, pretty } from "./json.js";
import { formOf } from "./schema_form.js";
import { element } from "./show.js";

export function editorOf(schema) {
  const form = formOf(schema);
  const json = element("textarea", { id: "data", class: "code", rows: 8, spellcheck: "false", "aria-describedby": "data-wrong" });
  const wrong = element("p", { id: "data-wrong", class: "wrong" });
  const asJson = element("div", {}, element("label", { for: "data" }, "Data, as JSON"), json, wrong);
  const asForm = element("div", { class: "fields" }, ...(form?.fields.length ? form.fields.map((field) => field.element) : ["It takes no data."]));
  const toggle = element("button", { type: "button", onclick: turn });
  json.value = "{}";
  show(form !== null);

  function show(formed) {
    asForm.hidden = !formed;
    asJson.hidden = formed;
    toggle.hidden = form === null;
    toggle.textContent = formed ? "Edit as JSON" : "Edit as a form";
  }

  function turn() {
    try {
      if (asJson.hidden) json.value = pretty(form.text(false));
      else if (!form.fill(parse(checked(json.value, "")))) return void tell("", "the form of this action can't have this");
      show(asForm.hidden);
    } catch (error) {
      if (error.path === undefined) throw error;
      tell(error.path, error.message);
    }
  }

  // Says what is wrong at a path in the data; false where that has no place.
  function tell(path, message) {
    const field = asJson.hidden && form.fields.find(({ name }) => path === name || path.startsWith(`${name}.`));
    if (asJson.hidden && !field) return false;
    const [input, place, within] = field ? [field.input, field.wrong, path.slice(field.name.length + 1)] : [json, wrong, path];
    input.setAttribute("aria-invalid", "true");
    place.append(element("span", {}, within && `${within}: `, message));
    return true;
  }

  return {
    element: element("div", {}, asForm, asJson, toggle),
    tell,
    // As JSON.
    text: () => (asJson.hidden ? form.text() : checked(json.value, "")),
    fill(values) {
      json.value = JSON.stringify(values, null, 2);
      show(form !== null && form.fill(values));
    },
  };
}
