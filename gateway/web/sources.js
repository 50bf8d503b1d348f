// The numbered passages of an answer: those it cites with every quote marked, and those that were found as well.

import { status } from "./announce.js";
import { addressNode, el, safeHref } from "./dom.js";
import { byPlace, markedNodes, marksIn } from "./marks.js";
import { windowAround } from "./offsets.js";
import { openReader } from "./reader.js";
import { counted, place } from "./words.js";

const BEFORE_QUOTE = 90;
const AFTER_QUOTE = 160;
const MARKDOWN = /\.(md|markdown)$/i;

export class SourceList {
  #sources = [];
  #quotes = new Map(); // of each marker, in the order they were announced
  #current = new Map(); // of each marker, the quote that was asked for last
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

  /** Its quotes, in the order they were announced. */
  quotes(marker) {
    return this.#quotes.get(marker) ?? [];
  }

  show(sources) {
    this.#sources = sources;
    for (const source of sources) {
      const item = el("li.source", { tabindex: "-1", data: { marker: source.marker } }, ...this.#card(source));
      this.#items.set(source.marker, item);
      this.#others.append(item);
      this.#mark(source.marker);
    }
    this.#update();
  }

  /**
   * One more quote of a source.
   * @param {object} citation
   * @param {number} announcedAt How long the answer's text was when it was announced.
   */
  cite(citation, announcedAt) {
    const { marker } = citation;
    const quotes = this.quotes(marker);
    if (quotes.some((known) => known.startChar === citation.startChar && known.endChar === citation.endChar)) return;
    this.#quotes.set(marker, [...quotes, { ...citation, announcedAt }]);
    const item = this.#items.get(marker);
    if (!item) return;
    this.#mark(marker);
    if (quotes.length) return; // it stands among the cited ones already
    const after = [...this.#cited.children].find((other) => Number(other.dataset.marker) > marker);
    this.#cited.insertBefore(item, after ?? null);
    this.#update();
  }

  /** Bring a source into view, put the focus on it and emphasise the quote that is meant, if that is known. */
  jump(marker, quote) {
    const item = this.#items.get(marker);
    if (!item) return;
    this.#emphasise(marker, quote);
    if (this.#others.contains(item)) this.#othersBox.open = true;
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: "nearest" });
    item.classList.remove("flash");
    void item.offsetWidth; // begin the animation again
    item.classList.add("flash");
  }

  /** Among several quotes, that is: one alone needs no emphasis. */
  #emphasise(marker, quote) {
    const quotes = byPlace(this.quotes(marker));
    if (quotes.length < 2) return;
    this.#current.set(marker, quote);
    this.#mark(marker);
    if (quote) status(`Source ${marker}, quote ${quotes.indexOf(quote) + 1} of ${quotes.length}: ${quote.quote}`);
  }

  #update() {
    const others = this.#others.children.length;
    this.node.hidden = this.#sources.length === 0;
    this.#citedTitle.hidden = this.#cited.children.length === 0;
    this.#cited.hidden = this.#citedTitle.hidden;
    this.#othersBox.hidden = others === 0;
    this.#othersSummary.textContent = `Also found: ${counted(others, "passage")}`;
  }

  #card(source) {
    const name = source.title || source.documentId;
    return [
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
        el("blockquote.passage"),
      ),
    ];
  }

  #mark(marker) {
    const passage = this.#items.get(marker).querySelector(".passage");
    passage.replaceChildren(...snippet(this.source(marker), this.quotes(marker), this.#current.get(marker)));
  }

  #open(marker) {
    const quote = this.#current.get(marker) ?? null;
    openReader({ ...this.context, sources: this.#sources, quotes: this.#quotes, marker, quote });
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

/** The quotes within their passage, or the passage's beginning. */
function snippet(source, quotes, current) {
  const { text } = source;
  const show = MARKDOWN.test(source.documentId) ? withoutMarks : (part) => part;
  const marks = marksIn(text, source.startChar, byPlace(quotes), current);
  const held = marks.map(({ quote }) => quote);
  const windows = quotes.length
    ? joined(marks.map(({ range }) => windowAround(text, range, BEFORE_QUOTE, AFTER_QUOTE)))
    : [windowAround(text, [0, 0], 0, BEFORE_QUOTE + AFTER_QUOTE)];
  return [
    windows[0]?.[0] > 0 ? "… " : "",
    ...windows.flatMap((window) => [...markedNodes(text, window, marks, show), window[1] < text.length ? " … " : ""]),
    // One that reaches out of the passage is shown by itself.
    ...quotes.filter((quote) => !held.includes(quote)).flatMap(({ quote }) => [" ", el("mark", {}, show(quote))]),
  ];
}

/** Windows, sorted by their beginnings, those that meet as one. Pure. */
export function joined(windows) {
  const found = [];
  for (const [from, to] of windows) {
    const last = found.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

/** Markdown's signs for headings and bold left out: a preview is for reading, the document is one click away. Pure. */
export function withoutMarks(text) {
  return text.replace(/^#{1,6}\s+/gm, "").replace(/\*\*(\S(?:[^*\n]*\S)?)\*\*/g, "$1");
}
