// Which quote of a source supports a sentence. A marker used again is announced again only when other words of the
// passage support it, and announcements may run ahead of the text; so a use does not simply own the latest one. Pure.

import { sentences } from "./announce.js";

const WORDS = new Intl.Segmenter("en", { granularity: "word" });
const MARKERS_AT_END = /(?:\s*\[\d{1,3}\])+\s*$/;
const UP_TO_A_MARKER = /^[^]*\[\d{1,3}\]/;

/**
 * The quote behind one use of a marker; null when it cannot be told.
 * @param {{announcedAt: number, quote: string}[]} quotes The marker's, as they were announced; `announcedAt` is how long
 *   the text was then.
 * @param {{text: string, uses: number[], at: number}} use The answer's text, every place of the marker in it, and the
 *   place that is meant.
 */
export function supporting(quotes, { text, uses, at }) {
  const known = quotes.filter((quote) => quote.announcedAt <= at);
  const index = uses.indexOf(at);
  if (known.length < 2 || index === 0) return known[0] ?? null; // the first use is always announced
  if (uses.length === quotes.length) return quotes[index] ?? null;
  return closest(known, claimBefore(text, at)) ?? onlyOne(known.filter((quote) => quote.announcedAt > uses[index - 1]));
}

/** The sentence a marker closes: the text since the marker before it, and of that the last sentence. */
export function claimBefore(text, at) {
  const before = text.slice(0, at).replace(MARKERS_AT_END, "").replace(UP_TO_A_MARKER, "");
  return sentences(before.trim())[1].trim();
}

/** The quote whose words are most like the claim's; null without a common word, or when two are as like. */
function closest(quotes, claim) {
  const said = wordsOf(claim);
  const scores = quotes.map((quote) => agreement(said, wordsOf(quote.quote)));
  const best = Math.max(...scores);
  return best > 0 ? onlyOne(quotes.filter((_, index) => scores[index] === best)) : null;
}

/** F1 of two sets: a quote is not favoured for its length. */
function agreement(one, other) {
  const common = [...one].filter((word) => other.has(word)).length;
  return common ? (2 * common) / (one.size + other.size) : 0;
}

function wordsOf(text) {
  const parts = [...WORDS.segment(text.toLowerCase())];
  return new Set(parts.filter((part) => part.isWordLike).map((part) => part.segment));
}

function onlyOne(found) {
  return found.length === 1 ? found[0] : null;
}
