// An answer's text as elements: paragraphs, lists, code, bold, and markers [n] as buttons. Text from a model or a
// document is never markup; the few signs below make elements of our own, everything else stays the characters it is.

import { el } from "./dom.js";

const FENCE = /^\s*```/;
const BULLET = /^\s*[-*•]\s+/;
const NUMBER = /^\s*\d{1,3}[.)]\s+/;
const HEADING = /^#{1,6}\s+/;
const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\[(\d{1,3})\]/g;

/** Cut at blank lines, fences kept whole. Pure. */
export function blocks(text) {
  const found = [];
  let lines = [];
  let isFenced = false;
  const close = () => {
    if (lines.length) found.push(lines.join("\n"));
    lines = [];
  };
  for (const line of text.split("\n")) {
    if (FENCE.test(line)) {
      if (!isFenced) close();
      lines.push(line);
      if (isFenced) close();
      isFenced = !isFenced;
    } else if (isFenced || line.trim()) {
      if (!isFenced && lines.length && listKind(line) !== listKind(lines.at(-1)) && !/^\s/.test(line)) close();
      lines.push(line);
    } else {
      close();
    }
  }
  close();
  return found;
}

function listKind(line) {
  if (BULLET.test(line)) return "ul";
  return NUMBER.test(line) ? "ol" : "";
}

/** Shows growing text; only blocks that changed are made anew, so what a reader holds on to stays. */
export class Prose {
  #shown = [];
  #citation;

  /**
   * @param {(marker: number, at: number) => Node|null} citation Makes the button of the marker that stands at this
   *   place of the text, or null to leave it text.
   */
  constructor(citation) {
    this.node = el("div.prose");
    this.#citation = citation;
  }

  show(text) {
    const wanted = blocks(text);
    let end = 0;
    wanted.forEach((block, index) => {
      const at = text.indexOf(block, end); // only blank lines lie between
      end = at + block.length;
      if (this.#shown[index] === block) return;
      const node = blockNode(block, at, this.#citation);
      const old = this.node.children[index];
      if (old) replaceKeepingFocus(old, node);
      else this.node.append(node);
    });
    while (this.node.children.length > wanted.length) this.node.lastElementChild.remove();
    this.#shown = wanted;
  }
}

function replaceKeepingFocus(old, node) {
  const held = [...old.querySelectorAll("button")].indexOf(document.activeElement);
  old.replaceWith(node);
  if (held >= 0) node.querySelectorAll("button")[held]?.focus({ preventScroll: true });
}

function blockNode(block, at, citation) {
  const lines = block.split("\n");
  if (FENCE.test(lines[0])) {
    const isClosed = lines.length > 1 && FENCE.test(lines.at(-1));
    return el("pre", { tabindex: "0" }, el("code", {}, lines.slice(1, isClosed ? -1 : undefined).join("\n")));
  }
  if (lines.every((line) => BULLET.test(line))) return list("ul", BULLET, { lines, at }, citation);
  if (lines.every((line) => NUMBER.test(line))) return list("ol", NUMBER, { lines, at }, citation);
  if (lines.length === 1 && HEADING.test(block))
    return el("p.prose-title", {}, ...unsigned(block, HEADING, at, citation));
  return el("p", {}, ...inline(block, at, citation));
}

function list(tag, sign, { lines, at }, citation) {
  let start = at;
  const items = lines.map((line) => {
    const item = el("li", {}, ...unsigned(line, sign, start, citation));
    start += line.length + 1;
    return item;
  });
  return el(tag, {}, ...items);
}

/** A line without the sign it begins with. */
function unsigned(line, sign, at, citation) {
  const rest = line.replace(sign, "");
  return inline(rest, at + line.length - rest.length, citation);
}

function inline(text, start, citation) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    const node = inlineNode(found, start + found.index, citation);
    if (!node) continue;
    if (found.index > at) nodes.push(text.slice(at, found.index));
    nodes.push(node);
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function inlineNode([, code, strong, marker], at, citation) {
  if (code !== undefined) return el("code", {}, code);
  if (strong !== undefined) return el("strong", {}, ...inline(strong, at + "**".length, citation));
  return citation(Number(marker), at);
}
