// A source in its document: the text around the passage, its quotes marked by the offsets of the contract.

import { getDocument } from "./api.js";
import { openDialog } from "./dialog.js";
import { addressNode, el, replaceChildren } from "./dom.js";
import { byPlace, markedNodes, marksIn } from "./marks.js";
import { softened, utf16Range, windowAround } from "./offsets.js";
import { count, counted, errorWords, moment, place, valueText } from "./words.js";

const STEP = 2500; // characters shown before and after the passage, and added by each "more"

/**
 * @param {{collection: string, sources: object[], quotes: Map<number, object[]>, marker: number, quote: object|null,
 *   onOnly: (documentId: string, collection: string) => void}} what `quotes` of each marker; `quote`: where to begin, null for the first.
 */
export function openReader(what) {
  new Reader(what).show();
}

/** Steps through the quotes of all sources; a source without one is a step of its own. */
class Reader {
  #body = el("div.reader");
  #aborter = new AbortController();
  #documents = new Map(); // asked for once, however many quotes are looked at

  constructor({ collection, sources, quotes, marker, quote, onOnly }) {
    this.collection = collection;
    this.onOnly = onOnly;
    this.steps = sources.flatMap((source) => stepsOf(source, byPlace(quotes.get(source.marker) ?? [])));
    this.at = this.steps.findIndex((step) => step.source.marker === marker && (!quote || step.quote === quote));
    this.dialog = openDialog({
      title: this.steps[this.at].title,
      body: this.#body,
      kind: "drawer",
      onClose: () => this.#aborter.abort(),
    });
    this.title = this.dialog.querySelector("h2");
    this.title.setAttribute("aria-live", "polite"); // a step says where it leads
  }

  async show() {
    const step = this.steps[this.at];
    this.title.textContent = step.title;
    const text = textBox();
    const head = el("div.reader-head", {}, ...heading(step.source));
    replaceChildren(this.#body, head, text, this.#foot(step.source));
    const loaded = await this.#load(step.source.documentId);
    if (text.isConnected) fillText(text, head, { ...step, ...loaded });
  }

  async #load(documentId) {
    const known = this.#documents.get(documentId);
    if (known) return known;
    const loaded = await load(this.collection, documentId, this.#aborter.signal);
    if (loaded.document) this.#documents.set(documentId, loaded);
    return loaded;
  }

  #foot(source) {
    const only = () => {
      this.dialog.close();
      this.onOnly(source.documentId, this.collection);
    };
    return el(
      "div.reader-foot",
      {},
      el("button.secondary", { type: "button", on: { click: only } }, "Ask only this"),
      el("span.bar-gap"),
      this.#stepButton("previous", "Previous", -1),
      this.#stepButton("next", "Next", 1),
    );
  }

  #stepButton(name, label, by) {
    const click = () => {
      this.at += by;
      this.show();
      const again = this.#body.querySelector(`.${name}`);
      (again.disabled ? this.#body.querySelector(".reader-foot .quiet:enabled") : again)?.focus();
    };
    const disabled = !this.steps[this.at + by];
    return el(`button.quiet.${name}`, { type: "button", disabled, on: { click } }, label);
  }
}

function stepsOf(source, quotes) {
  const title = `Source ${source.marker}`;
  if (quotes.length < 2) return [{ title, source, quotes, quote: quotes[0] ?? null }];
  return quotes.map((quote, index) => ({
    title: `${title}, quote ${index + 1} of ${quotes.length}`,
    source,
    quotes,
    quote,
  }));
}

/** A document of the browser, from its beginning. */
export function openDocument({ collection, document: known, onOnly }) {
  const source = { ...known, marker: 0, section: "", page: 0, startChar: 0, endChar: 0, text: "" };
  const aborter = new AbortController();
  const text = textBox();
  const head = el("div.reader-head", {}, ...heading(source));
  const only = el("button.secondary", { type: "button" }, "Ask only this");
  const body = el("div.reader", {}, head, text, el("div.reader-foot", {}, only));
  const dialog = openDialog({ title: "Document", body, kind: "drawer", onClose: () => aborter.abort() });
  only.addEventListener("click", () => {
    dialog.close();
    onOnly(known.documentId, collection);
  });
  const step = { source, quotes: [], quote: null };
  load(collection, known.documentId, aborter.signal).then((loaded) => fillText(text, head, { ...step, ...loaded }));
}

async function load(collection, documentId, signal) {
  try {
    return { document: await getDocument(collection, documentId, { signal }), error: null };
  } catch (error) {
    return { document: null, error };
  }
}

function textBox() {
  return el(
    "div.reader-text",
    { tabindex: "0", role: "region", aria: { label: "Text of the document" } },
    el("p.note", {}, "Loading the document"),
  );
}

function heading(source) {
  const where = place(source);
  return [
    el("p.reader-title", {}, source.title || source.documentId),
    where ? el("p.source-where", {}, el("span", {}, where)) : null,
  ].filter(Boolean);
}

function fillText(box, head, { source, quotes, quote, document, error }) {
  if (error?.name === "AbortError") return;
  if (document) head.append(facts(source, document));
  const passage = document && utf16Range(document.text, source.startChar, source.endChar);
  const isSame = document && (!source.text || document.text.slice(...passage) === source.text);
  if (isSame) {
    const marks = marksIn(document.text, 0, quotes, quote);
    const whole = { range: passage, isCurrent: false }; // nothing of it is quoted: it was found
    showWindow(box, softened(document.text), { passage, marks: marks.length ? marks : [whole] });
  } else {
    const notice = document
      ? "The document has changed since this answer. This is the passage as it was."
      : errorWords(error)[0];
    const marks = marksIn(source.text, source.startChar, quotes, quote);
    const text = el("p.document-text", {}, ...markedNodes(source.text, [0, source.text.length], marks));
    replaceChildren(box, el("p.note.caution", {}, notice), text);
  }
  const sought = ["mark[aria-current]", "mark", ".passage-range"].map((name) => box.querySelector(name)).find(Boolean);
  sought?.scrollIntoView({ block: "center" });
}

function showWindow(box, text, { passage, marks }) {
  let [from, to] = windowAround(text, passage, STEP, STEP);
  const part = (start, end) => markedNodes(text, [start, end], marks);
  const render = () => {
    const above = moreButton("Show more above", () => {
      from = windowAround(text, [from, from], STEP, 0)[0];
      render();
    });
    const below = moreButton("Show more below", () => {
      to = windowAround(text, [to, to], 0, STEP)[1];
      render();
    });
    const inside = [
      ...part(from, passage[0]),
      passage[1] > passage[0] ? el("span.passage-range", {}, ...part(...passage)) : "",
      ...part(passage[1], to),
    ];
    const shown = el("p.document-text", {}, ...inside);
    replaceChildren(box, from > 0 ? above : null, shown, to < text.length ? below : null);
  };
  render();
}

function moreButton(label, click) {
  return el("button.quiet.more", { type: "button", on: { click } }, label);
}

function facts(source, document) {
  const rows = [
    ["Document", document.documentId],
    ["From", document.source],
    ["Address", document.uri ? addressNode(document.uri) : ""],
    ["Size", `${counted(document.textChars, "character")}, ${counted(document.chunkCount, "chunk")}`],
    ["Stored", moment(document.updateTime)],
    ["Found by", foundBy(source)],
    ...Object.entries(document.metadata ?? {}).map(([name, value]) => [name, valueText(value)]),
  ].filter(([, value]) => value);
  return el(
    "details.facts",
    {},
    el("summary", {}, "About this document"),
    el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  );
}

function foundBy(source) {
  const legs = [
    source.denseRank ? `meaning, rank ${count(source.denseRank)}` : "",
    source.lexicalRank ? `words, rank ${count(source.lexicalRank)}` : "",
  ];
  return legs.filter(Boolean).join("; ");
}
