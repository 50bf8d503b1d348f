// The only place that makes elements. Rule: whatever comes from outside enters the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const LINK_SCHEMES = new Set(["http:", "https:"]);

/** The element with this id; a page without it is broken, so this throws. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * An element.
 * @param {string} tag Name, with optional classes: "p.note.quiet".
 * @param {Object<string, unknown>} properties `on` holds listeners, `data` the dataset, `aria` aria-* attributes; true,
 *   false and null mean what they say; everything else is an attribute.
 * @param {...(Node|string|null)} children Strings become text nodes.
 */
export function el(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) setProperty(node, key, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function setProperty(node, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (key === "on") {
    for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  } else if (key === "data") {
    Object.assign(node.dataset, value);
  } else if (key === "aria") {
    for (const [name, text] of Object.entries(value)) node.setAttribute(`aria-${name}`, String(text));
  } else {
    node.setAttribute(key, value === true ? "" : String(value));
  }
}

/** A small drawing from our own path data; it says nothing to a screen reader. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  close: "M6 6l12 12M18 6 6 18",
  bin: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12",
  filter: "M4 6h16M7 12h10M10 18h4",
  page: "M7 3.5h7l4 4v13H7zM14 3.5v4h4M10 12.5h5M10 16h5",
  key: "M8 19.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8M11 12.5 19.5 4M16 7.5l3 3",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  light:
    "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2" +
    "M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  dark: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5",
};

export function replaceChildren(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== ""));
}

/** A link when the address is http(s), else the same text: an address is the document owner's, and may be anything. */
export function addressNode(uri, label = uri) {
  const href = safeHref(uri);
  return href
    ? el("a.address", { href, rel: "noopener noreferrer", target: "_blank" }, label)
    : el("span.address", {}, label);
}

export function safeHref(uri) {
  try {
    const url = new URL(uri);
    return LINK_SCHEMES.has(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}
