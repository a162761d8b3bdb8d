// Values that are not shown, since the names of their members tell that they are secret: from who looks over a shoulder or
// at a picture of the page, not from its reader, whose key reads them at the API.

export const MASKED = "•••••";

// As names are compared: in whatever case, with whatever stands between words.
const plain = (name) => name.toLowerCase().replace(/[-_ ]/g, "");

const names = new Set(document.documentElement.dataset.mask.split(",").map(plain).filter(Boolean));

// For JSON.stringify.
export const mask = (name, value) => (value !== null && names.has(plain(name)) ? MASKED : value);
