// What the API says in codes, in words for people. Pure.

const ERRORS = {
  NETWORK: ["The server cannot be reached.", "Check that askmesh is running, then try again."],
  BROKEN: ["The connection broke before the answer was whole.", "Ask again; what was said so far is kept above."],
  FIELD_INVALID: ["The server does not take this request.", "Correct what is named below."],
  FILTER_INVALID: [
    "A filter does not fit this collection.",
    "Check the field's name and the type of its value, or remove the filter.",
  ],
  COLLECTION_NOT_FOUND: [
    "This collection does not exist yet.",
    "Add a document; the first one creates the collection.",
  ],
  DOCUMENT_NOT_FOUND: ["This document is not there, or you may not read it.", ""],
  CREDENTIALS_MISSING: ["This server asks for a token.", "Enter one under Access."],
  CREDENTIALS_INVALID: ["The server does not accept this token.", "Enter a new one under Access."],
  PERMISSION_DENIED: ["You may not do this.", "Ask an administrator for the role that is missing."],
  OVERLOADED: [
    "The server is busy and turned this away before starting it.",
    "Nothing was lost; try again in a moment.",
  ],
  SHUTTING_DOWN: ["The server is restarting.", "Try again in a moment."],
  DEADLINE_EXCEEDED: ["There was not enough time to find anything.", "Try again, or read fewer passages."],
  RETRIEVER_UNAVAILABLE: [
    "The retriever is down and no cached answer fits.",
    "askmesh never answers without sources. Try again in a moment.",
  ],
  SEARCH_UNAVAILABLE: ["Neither search by meaning nor search by words answers.", "Try again in a moment."],
  CATALOGUE_UNAVAILABLE: ["The catalogue of documents is down.", "Try again in a moment."],
  BACKEND_UNAVAILABLE: ["A part of the system does not answer.", "Try again in a moment."],
  EMBEDDER_UNAVAILABLE: [
    "The embedding model is missing or is not the one this collection was made with.",
    "An operator finds the cure with askmesh doctor.",
  ],
  MESSAGE_TOO_LARGE: ["This is more than the server takes at once.", "Send less, or split the file."],
  DOCUMENT_UNREADABLE: ["The file is not what its name says.", "Open it with its program and save it again."],
  DOCUMENT_EMPTY: ["The file holds no text.", "A scan needs text recognition first."],
  DOCUMENT_ENCRYPTED: ["The file is encrypted.", "Save it without a password."],
  DOCUMENT_TOO_LARGE: ["The file is too large, as sent or once unpacked.", "Split it."],
  DOCUMENT_FORMAT_UNSUPPORTED: [
    "This format is not read.",
    "Markdown, text, HTML, PDF, Word, PowerPoint, Excel, CSV and JSON are.",
  ],
  DOCUMENT_ENCODING_INVALID: ["The text's encoding cannot be told.", "Save it as UTF-8."],
  STORAGE_FULL: ["The disk is full.", "Everything stored before is kept. Free some space and send the rest again."],
  METADATA_CONFLICT: [
    "A metadata field has another type in this collection.",
    "Send the field's type, or use another name.",
  ],
  CONFLICT: ["Another writer was faster.", "Try again."],
  INTERNAL: ["Something went wrong in the server.", "Report the request id below."],
};

/** @returns {[string, string]} what happened, and what to do. */
export function errorWords(error) {
  return ERRORS[error.reason] ?? [error.message || "The server refused the request.", ""];
}

const DEGRADED = {
  LEXICAL_UNAVAILABLE: "Search by words did not answer; these are the results of search by meaning.",
  DENSE_UNAVAILABLE: "Search by meaning did not answer; these are the results of search by words.",
  EMBEDDER_UNAVAILABLE: "The embedding model is not available; passages were found by their words only.",
  RERANK_SKIPPED: "The passages were not reranked.",
  CATALOGUE_UNAVAILABLE: "The catalogue is down; the last known state of the documents was read.",
  CACHE_UNAVAILABLE: "The answer cache did not answer; the answer was made afresh.",
  MODEL_COLD: "The language model is still loading; the answer is quoted from the passages.",
  MODEL_UNAVAILABLE: "The language model does not answer; you see passages quoted, or what it had said so far.",
  MODEL_OVERLOADED: "The language model is busy; the answer is quoted from the passages.",
  DEADLINE_TRIMMED: "Time ran out; the answer was cut short.",
  RETRIEVER_UNAVAILABLE: "The retriever is down; this earlier answer could not be checked against the documents.",
};

export function degradedWords(degradation) {
  const reason = String(degradation.reason).replace(/^DEGRADED_REASON_/, "");
  return DEGRADED[reason] ?? `A part was left out (${reason.toLowerCase().replaceAll("_", " ")}).`;
}

const HITS = new Set(["CACHE_STATUS_HIT_EXACT", "CACHE_STATUS_HIT_SEMANTIC"]);

export const isHit = (cache) => HITS.has(cache?.status);

/** @returns {{label: string, tone: string}|null} */
export function cacheBadge(cache) {
  const age = cache?.ageSeconds ? `, ${duration(cache.ageSeconds)} old` : "";
  switch (cache?.status) {
    case "CACHE_STATUS_HIT_EXACT":
      return { label: `Cached, exact${age}`, tone: "good" };
    case "CACHE_STATUS_HIT_SEMANTIC":
      return { label: `Cached, ${percent(cache.similarity)} alike${age}`, tone: "good" };
    case "CACHE_STATUS_JOINED":
      return { label: "Shared with an equal ask", tone: "plain" };
    case "CACHE_STATUS_MISS":
      return { label: "Cache miss", tone: "plain" };
    case "CACHE_STATUS_SKIPPED":
      return { label: "Cache not used", tone: "plain" };
    default:
      return null;
  }
}

const GROUNDING = {
  GROUNDING_SUPPORTED: { label: "Supported by its sources", tone: "good" },
  GROUNDING_PARTIAL: { label: "Partly supported", tone: "caution" },
  GROUNDING_NOT_FOUND: { label: "Not found in the sources", tone: "caution" },
};

export const groundingBadge = (grounding) => GROUNDING[grounding] ?? null;

const PARTIAL = {
  FINISH_REASON_LENGTH: "Partial: the length limit was reached.",
  FINISH_REASON_DEADLINE: "Partial: time ran out.",
  FINISH_REASON_ERROR: "Partial: the model broke off.",
};

/** Why the text stops early; empty when it is whole. */
export function partialWords(completed) {
  return completed.isPartial || completed.finishReason === "FINISH_REASON_LENGTH"
    ? (PARTIAL[completed.finishReason] ?? "Partial: the text stops before the answer was whole.")
    : "";
}

const COUNT = new Intl.NumberFormat("en");

export const count = (value) => COUNT.format(value ?? 0);
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
export const percent = (share) => `${Math.floor((share ?? 0) * 100)} %`;

export function milliseconds(value) {
  if (!value) return "0 ms";
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export function money(amount, currency) {
  if (!amount) return "0";
  const digits = { minimumFractionDigits: 2, maximumSignificantDigits: 3 };
  return `${new Intl.NumberFormat("en", digits).format(amount)} ${currency || "USD"}`;
}

export function bytes(value) {
  const size = Number(value) || 0;
  if (size < 1024) return `${size} B`;
  return size < 1024 ** 2 ? `${(size / 1024).toFixed(0)} KiB` : `${(size / 1024 ** 2).toFixed(1)} MiB`;
}

export function moment(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** Where a passage or a citation is, without its document: "Caching > The key · page 3". */
export function place(where) {
  return [where.section, where.page ? `page ${where.page}` : ""].filter(Boolean).join(" · ");
}

/** A metadata value of the API as text. */
export function valueText(value) {
  if (value?.timeValue !== undefined) return moment(value.timeValue);
  if (value?.boolValue !== undefined) return value.boolValue ? "yes" : "no";
  return String(value?.stringValue ?? value?.numberValue ?? "");
}
