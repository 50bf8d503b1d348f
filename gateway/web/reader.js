// A source in its document: the text around the passage, the quoted words marked by the offsets of the contract.

import { getDocument } from "./api.js";
import { openDialog } from "./dialog.js";
import { addressNode, el, markedText, replaceChildren } from "./dom.js";
import { sliceByPoints, softened, utf16Range, windowAround } from "./offsets.js";
import { count, counted, errorWords, moment, place, valueText } from "./words.js";

const STEP = 2500; // characters shown before and after the passage, and added by each "more"

/**
 * @param {{collection: string, sources: object[], citations: Map<number, object>, marker: number,
 *   onOnly: (documentId: string) => void}} what
 */
export function openReader({ collection, sources, citations, marker, onOnly }) {
  let at = sources.findIndex((source) => source.marker === marker);
  const body = el("div.reader");
  const aborter = new AbortController();
  const dialog = openDialog({ title: "Source", body, kind: "drawer", onClose: () => aborter.abort() });
  const title = dialog.querySelector("h2");
  const show = async () => {
    const source = sources[at];
    title.textContent = `Source ${source.marker}`;
    const text = el(
      "div.reader-text",
      { tabindex: "0", role: "region", aria: { label: "Text of the document" } },
      el("p.note", {}, "Loading the document"),
    );
    const head = el("div.reader-head", {}, ...heading(source));
    replaceChildren(body, head, text, navigation(sources, at, { move, only: () => only(source) }));
    const loaded = await load(collection, source.documentId, aborter.signal);
    if (text.isConnected) fillText(text, head, { source, citation: citations.get(source.marker), ...loaded });
  };
  const move = (step) => {
    at += step;
    show();
    body.querySelector(step < 0 ? ".previous" : ".next")?.focus();
  };
  const only = (source) => {
    dialog.close();
    onOnly(source.documentId);
  };
  show();
}

/** A document of the browser, from its beginning. */
export function openDocument({ collection, document: known, onOnly }) {
  const source = { ...known, marker: 0, section: "", page: 0, startChar: 0, endChar: 0, text: "" };
  const aborter = new AbortController();
  const text = el(
    "div.reader-text",
    { tabindex: "0", role: "region", aria: { label: "Text of the document" } },
    el("p.note", {}, "Loading the document"),
  );
  const head = el("div.reader-head", {}, ...heading(source));
  const only = el("button.secondary", { type: "button" }, "Ask only this");
  const body = el("div.reader", {}, head, text, el("div.reader-foot", {}, only));
  const dialog = openDialog({ title: "Document", body, kind: "drawer", onClose: () => aborter.abort() });
  only.addEventListener("click", () => {
    dialog.close();
    onOnly(known.documentId);
  });
  load(collection, known.documentId, aborter.signal).then((loaded) => fillText(text, head, { source, ...loaded }));
}

async function load(collection, documentId, signal) {
  try {
    return { document: await getDocument(collection, documentId, { signal }), error: null };
  } catch (error) {
    return { document: null, error };
  }
}

function heading(source) {
  const where = place(source);
  return [
    el("p.reader-title", {}, source.title || source.documentId),
    where ? el("p.source-where", {}, el("span", {}, where)) : null,
  ].filter(Boolean);
}

function navigation(sources, at, { move, only }) {
  const step = (name, label, by) =>
    el(`button.quiet.${name}`, { type: "button", disabled: !sources[at + by], on: { click: () => move(by) } }, label);
  return el(
    "div.reader-foot",
    {},
    el("button.secondary", { type: "button", on: { click: only } }, "Ask only this"),
    el("span.bar-gap"),
    step("previous", "Previous", -1),
    step("next", "Next", 1),
  );
}

function fillText(box, head, { source, citation, document, error }) {
  if (error?.name === "AbortError") return;
  if (document) head.append(facts(source, document));
  const passage = document && utf16Range(document.text, source.startChar, source.endChar);
  const isSame = document && (!source.text || document.text.slice(...passage) === source.text);
  if (isSame) {
    const quote = citation ? quoteIn(document.text, citation) : null;
    showWindow(box, softened(document.text), passage, quote);
  } else {
    const notice = document
      ? "The document has changed since this answer. This is the passage as it was."
      : errorWords(error)[0];
    replaceChildren(box, el("p.note.caution", {}, notice), passageText(source, citation));
  }
}

function passageText(source, citation) {
  const range = citation
    ? utf16Range(source.text, citation.startChar - source.startChar, citation.endChar - source.startChar)
    : [0, 0];
  return el("p.document-text", {}, ...markedText(source.text, range[1] > range[0] ? [range] : []));
}

function showWindow(box, text, passage, quote) {
  let [from, to] = windowAround(text, passage, STEP, STEP);
  const render = () => {
    const more = (label, grow) =>
      el(
        "button.quiet.more",
        {
          type: "button",
          on: {
            click: () => {
              grow();
              render();
            },
          },
        },
        label,
      );
    const inside = [
      text.slice(from, passage[0]),
      passage[1] > passage[0] ? el("span.passage-range", {}, ...passageNodes(text, passage, quote)) : "",
      text.slice(passage[1], to),
    ];
    replaceChildren(
      box,
      from > 0
        ? more("Show more above", () => {
            from = windowAround(text, [from, from], STEP, 0)[0];
          })
        : null,
      el("p.document-text", {}, ...inside.filter(Boolean)),
      to < text.length
        ? more("Show more below", () => {
            to = windowAround(text, [to, to], 0, STEP)[1];
          })
        : null,
    );
  };
  render();
  (box.querySelector("mark") ?? box.querySelector(".passage-range"))?.scrollIntoView({ block: "center" });
}

function passageNodes(text, [start, end], quote) {
  const inside = quote ?? [start, end];
  const range = [Math.max(inside[0], start) - start, Math.min(inside[1], end) - start];
  return markedText(text.slice(start, end), range[1] > range[0] ? [range] : []);
}

function quoteIn(text, citation) {
  const isThere = sliceByPoints(text, citation.startChar, citation.endChar) === citation.quote;
  return isThere ? utf16Range(text, citation.startChar, citation.endChar) : null;
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
