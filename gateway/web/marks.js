// Text with quotes marked in it. Quotes may overlap: a later one can hold an earlier one.

import { el } from "./dom.js";
import { utf16Range } from "./offsets.js";

/**
 * A window of a text, the quotes in it marked and the current one marked as such.
 * @param {string} text
 * @param {[number, number]} window
 * @param {{range: [number, number], isCurrent: boolean}[]} quotes Ranges count UTF-16 units of `text`.
 * @param {(part: string) => string} show What is shown of a part.
 */
export function markedNodes(text, window, quotes, show = (part) => part) {
  return stretches(window, quotes).map(({ start, end, kind }) => {
    const part = show(text.slice(start, end));
    return kind ? el("mark", kind === "current" ? { aria: { current: "true" } } : {}, part) : part;
  });
}

/** The window cut where the marking changes: "", "quote" or "current". Pure. */
export function stretches([from, to], quotes) {
  const inside = (point) => from < point && point < to;
  const points = quotes.flatMap(({ range }) => range).filter(inside);
  const borders = [...new Set([from, ...points, to])].sort((a, b) => a - b);
  const found = [];
  for (const [index, end] of borders.slice(1).entries()) {
    const start = borders[index];
    const kind = kindOf(quotes.filter(({ range }) => range[0] <= start && end <= range[1]));
    if (found.at(-1)?.kind === kind) found.at(-1).end = end;
    else found.push({ start, end, kind });
  }
  return found;
}

function kindOf(holders) {
  if (holders.some((quote) => quote.isCurrent)) return "current";
  return holders.length ? "quote" : "";
}

/**
 * Where quotes are in a text that begins at an offset of their document; those it does not hold are left out. Pure.
 * @param {string} text
 * @param {number} start Code points, as the quotes' own offsets.
 * @param {object[]} quotes
 * @param {object|null} current The quote that is meant; one alone needs no emphasis.
 */
export function marksIn(text, start, quotes, current) {
  const marks = quotes.map((quote) => ({
    quote,
    range: utf16Range(text, quote.startChar - start, quote.endChar - start),
    isCurrent: quotes.length > 1 && quote === current,
  }));
  return marks.filter(({ quote, range }) => text.slice(...range) === quote.quote);
}

/** Quotes as a reader meets them. Pure. */
export function byPlace(quotes) {
  return [...quotes].sort((one, other) => one.startChar - other.startChar || one.endChar - other.endChar);
}
