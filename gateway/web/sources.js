// The numbered passages of an answer: those it cites with the quoted words marked, and those that were found as well.

import { addressNode, el, safeHref } from "./dom.js";
import { utf16Range, windowAround } from "./offsets.js";
import { openReader } from "./reader.js";
import { counted, place } from "./words.js";

const BEFORE_QUOTE = 90;
const AFTER_QUOTE = 160;
const MARKDOWN = /\.(md|markdown)$/i;

export class SourceList {
  #sources = [];
  #citations = new Map();
  #items = new Map();
  #cited = el("ol.source-list");
  #others = el("ol.source-list");
  #citedTitle = el("h4", {}, "Cited");
  #othersSummary = el("summary");
  #othersBox = el("details.also-found", {}, this.#othersSummary, this.#others);

  /** @param {{collection: string, onOnly: (documentId: string) => void}} context `onOnly`: ask this document alone. */
  constructor(context) {
    this.context = context;
    this.node = el(
      "section.sources",
      { aria: { label: "Sources" }, hidden: true },
      this.#citedTitle,
      this.#cited,
      this.#othersBox,
    );
    this.#update();
  }

  source(marker) {
    return this.#sources.find((source) => source.marker === marker) ?? null;
  }

  show(sources) {
    this.#sources = sources;
    for (const source of sources) {
      const item = el("li.source", { tabindex: "-1", data: { marker: source.marker } });
      this.#items.set(source.marker, item);
      this.#fill(item, source);
      this.#others.append(item);
    }
    this.#update();
  }

  cite(citation) {
    this.#citations.set(citation.marker, citation);
    const item = this.#items.get(citation.marker);
    if (!item) return;
    this.#fill(item, this.source(citation.marker));
    const after = [...this.#cited.children].find((other) => Number(other.dataset.marker) > citation.marker);
    this.#cited.insertBefore(item, after ?? null);
    this.#update();
  }

  /** Bring a source into view and put the focus on it. */
  jump(marker) {
    const item = this.#items.get(marker);
    if (!item) return;
    if (this.#others.contains(item)) this.#othersBox.open = true;
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: "nearest" });
    item.classList.remove("flash");
    void item.offsetWidth; // begin the animation again
    item.classList.add("flash");
  }

  #update() {
    const others = this.#others.children.length;
    this.node.hidden = this.#sources.length === 0;
    this.#citedTitle.hidden = this.#cited.children.length === 0;
    this.#cited.hidden = this.#citedTitle.hidden;
    this.#othersBox.hidden = others === 0;
    this.#othersSummary.textContent = `Also found: ${counted(others, "passage")}`;
  }

  #fill(item, source) {
    const citation = this.#citations.get(source.marker);
    const name = source.title || source.documentId;
    item.replaceChildren(
      el("span.marker", { aria: { hidden: "true" } }, String(source.marker)),
      el(
        "div.source-body",
        {},
        el(
          "button.source-title",
          {
            type: "button",
            aria: { label: `Open source ${source.marker}: ${name}` },
            on: { click: () => this.#open(source.marker) },
          },
          name,
        ),
        el("p.source-where", {}, ...whereNodes(source)),
        el("blockquote.passage", {}, ...snippet(source, citation)),
      ),
    );
  }

  #open(marker) {
    openReader({ ...this.context, sources: this.#sources, citations: this.#citations, marker });
  }
}

function whereNodes(source) {
  const parts = [source.title ? source.documentId : "", place(source), source.source].filter(Boolean);
  const nodes = parts.map((part) => el("span", {}, part));
  if (source.uri && source.uri !== source.documentId) {
    nodes.push(safeHref(source.uri) ? addressNode(source.uri) : el("span.address", {}, source.uri));
  }
  return nodes;
}

/** The quote within its passage, or the passage's beginning. */
function snippet(source, citation) {
  const { text } = source;
  const show = MARKDOWN.test(source.documentId) ? withoutMarks : (part) => part;
  const quote = citation ? quoteRange(source, citation) : [0, 0];
  if (!quote) return [el("mark", {}, show(citation.quote))];
  const [from, to] = citation
    ? windowAround(text, quote, BEFORE_QUOTE, AFTER_QUOTE)
    : windowAround(text, quote, 0, BEFORE_QUOTE + AFTER_QUOTE);
  return [
    from > 0 ? "… " : "",
    show(text.slice(from, quote[0])),
    citation ? el("mark", {}, show(text.slice(...quote))) : "",
    show(text.slice(quote[1], to)),
    to < text.length ? " …" : "",
  ];
}

/** Markdown's signs for headings and bold left out: a preview is for reading, the document is one click away. Pure. */
export function withoutMarks(text) {
  return text.replace(/^#{1,6}\s+/gm, "").replace(/\*\*(\S(?:[^*\n]*\S)?)\*\*/g, "$1");
}

/** Where the quote is in the passage, in UTF-16 units; null when it reaches out of it. */
export function quoteRange(source, citation) {
  const range = utf16Range(source.text, citation.startChar - source.startChar, citation.endChar - source.startChar);
  return source.text.slice(...range) === citation.quote ? range : null;
}
