// A form for the members of an object, as its JSON Schema tells them. Each field gives JSON as text, so that a number
// stays as it was typed, however long it is.

import { Invalid, checked, parse } from "./json.js";
import { element } from "./show.js";

// Null where there is none: an object with members that its schema doesn't name is better written as JSON.
export function formOf(schema) {
  if (schema.additionalProperties !== false) return null;
  const needed = schema.required ?? [];
  const fields = Object.entries(schema.properties ?? {}).map(([name, member], index) =>
    field(name, `data-${index}`, member, schema, needed.includes(name)));
  return {
    fields,
    // `whole`: with all that it needs.
    text(whole = true) {
      const members = fields.map(({ name, text }) => [JSON.stringify(name), text(whole)]).filter(([, text]) => text !== undefined);
      return `{${members.map((member) => member.join(":")).join(",")}}`;
    },
    // Whether the form then has all of this object, and nothing else.
    fill(values) {
      for (const { name, fill } of fields) fill(values[name]);
      try {
        return inOrder(parse(this.text())) === inOrder(values);
      } catch (error) {
        if (error instanceof Invalid) return false;
        throw error;
      }
    },
  };
}

const inOrder = (object) => Object.entries(object).map((member) => JSON.stringify(member)).sort().join();

function field(name, id, member, root, needed) {
  const { schema, nullable } = resolved(member, root);
  const kind = kindOf(schema);
  const input = element(kind.element, { ...kind.attributes, id, "aria-describedby": `${id}-about ${id}-wrong` });
  if (kind.choices) {
    const choices = [...kind.choices, ...(nullable ? ["null"] : [])];
    input.append(element("option", { value: "" }, needed ? "choose" : "left out"), ...choices.map((json) => element("option", { value: json }, json)));
  }
  const words = [kind.words, nullable && "or null", !needed && "may be left out", member.default !== undefined && `default ${cut(JSON.stringify(member.default))}`];
  const about = [words.filter(Boolean).join(", "), cut(member.description ?? "")].filter(Boolean).join(". ");
  const wrong = element("p", { id: `${id}-wrong`, class: "wrong" });
  return {
    name, input, wrong,
    element: element("div", {}, element("label", { for: id }, name), input, element("p", { id: `${id}-about`, class: "quiet" }, about), wrong),
    // Undefined where it is left out.
    text(whole) {
      if (input.value) return kind.text(input.value, name);
      if (!needed || !whole) return undefined;
      if (nullable) return "null";
      if (kind === TEXT) return '""';
      throw new Invalid(name, "required");
    },
    fill(value) {
      if (value === undefined) input.value = "";
      else input.value = kind === TEXT && typeof value === "string" ? value : JSON.stringify(value, null, kind.choices ? 0 : 2);
    },
  };
}

const TEXT = { element: "textarea", attributes: { rows: 1 }, words: "text", text: (typed) => JSON.stringify(typed) };
const JSON_TEXT = { element: "textarea", attributes: { rows: 1, class: "code", spellcheck: "false" }, words: "JSON", text: checked };

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

function number(typed, name) {
  if (!NUMBER.test(typed.trim())) throw new Invalid(name, "not a number, as JSON has them");
  return typed.trim();
}

function kindOf({ type, enum: choices, const: only }) {
  if (type === "boolean") choices = [true, false];
  if (only !== undefined) choices = [only];
  if (choices) return { element: "select", choices: choices.map((value) => JSON.stringify(value)), text: (chosen) => chosen };
  if (type === "string") return TEXT;
  if (type === "integer" || type === "number") return { element: "input", attributes: { inputmode: "decimal" }, words: type, text: number };
  return type ? { ...JSON_TEXT, words: `${type}, as JSON` } : JSON_TEXT;
}

// Behind its references; and without null among its alternatives, which is told apart.
function resolved(member, root) {
  let schema = member, nullable = false;
  for (let depth = 0; depth < 10; depth++) {
    if (schema.$ref) schema = root.$defs?.[schema.$ref.split("/").pop()] ?? {};
    else if (schema.anyOf) {
      const others = schema.anyOf.filter(({ type }) => type !== "null");
      nullable ||= others.length < schema.anyOf.length;
      if (others.length !== 1) break;
      [schema] = others;
    } else break;
  }
  return { schema, nullable };
}

const cut = (text) => (text.length > 300 ? `${text.slice(0, 300)}…` : text);
