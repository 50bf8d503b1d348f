// Offsets of the API count Unicode code points; JavaScript strings count UTF-16 units. Everything here is pure.

const ASTRAL = /[\u{10000}-\u{10FFFF}]/u;

/**
 * UTF-16 indexes of code point offsets, in one pass over the text.
 * @param {string} text
 * @param {number[]} points Offsets in any order; beyond the end means the end.
 */
export function utf16Offsets(text, points) {
  if (!ASTRAL.test(text)) return points.map((point) => clamp(point, text.length));
  const wanted = [...new Set(points)].sort((a, b) => a - b);
  const found = new Map();
  let units = 0;
  let count = 0;
  for (const point of wanted) {
    while (count < point && units < text.length) {
      units += text.codePointAt(units) > 0xffff ? 2 : 1;
      count += 1;
    }
    found.set(point, units);
  }
  return points.map((point) => found.get(point));
}

export function utf16Range(text, start, end) {
  const [from, to] = utf16Offsets(text, [start, end]);
  return [from, Math.max(from, to)];
}

/** The nearest index that does not part a surrogate pair. */
export function wholeCharacter(text, index) {
  const at = clamp(index, text.length);
  const unit = text.charCodeAt(at);
  return at > 0 && unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}

/** A window of the text around a range that ends at white space where some is near. */
export function windowAround(text, [start, end], before, after) {
  let from = wholeCharacter(text, start - before);
  let to = wholeCharacter(text, end + after);
  if (from > 0) from = nextGap(text, from, start);
  if (to < text.length) to = lastGap(text, to, end);
  return [from, to];
}

/**
 * The text with the line ends inside its paragraphs as spaces, for reading: files are often wrapped at some column. As
 * long as the text it was made from, so that every offset holds. Short lines, lists, tables, headings and code stay.
 */
export function softened(text) {
  return text.replace(/^(\S.{59,})\n(?=[^\s#>|`*+\-\d])/gm, "$1 ");
}

function nextGap(text, from, limit) {
  for (let at = from; at < Math.min(from + 24, limit); at += 1) if (/\s/.test(text[at])) return at + 1;
  return from;
}

function lastGap(text, to, limit) {
  for (let at = to; at > Math.max(to - 24, limit); at -= 1) if (/\s/.test(text[at] ?? "")) return at;
  return to;
}

function clamp(value, most) {
  return Math.min(Math.max(value, 0), most);
}
