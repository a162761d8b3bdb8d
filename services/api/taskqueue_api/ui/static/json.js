// JSON, whose integers stay as they were written, however long they are.

// What is wrong with the member of this path.
export class Invalid extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

// What JSON.parse would round stays as it was written, and JSON.stringify writes it so again.
const exact = (_, value, { source } = {}) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && source && JSON.rawJSON ? JSON.rawJSON(source) : value;

export const parse = (text) => JSON.parse(text, exact);

// The same text, if it is JSON.
export function checked(text, path) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Invalid(path, `not JSON: ${error.message}`);
  }
  return text;
}

// In lines, where the browser can do that exactly.
export const pretty = (text) => (JSON.rawJSON ? JSON.stringify(parse(text), null, 2) : text);
