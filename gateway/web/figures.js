// The figures of a completed answer: what it took, what it cost, and where the time went.

import { el } from "./dom.js";
import { count, milliseconds, money } from "./words.js";

const STAGES = [
  ["queueMs", "Waiting"],
  ["cacheMs", "Cache"],
  ["embedMs", "Embedding"],
  ["retrieveMs", "Retrieval"],
  ["generateMs", "Writing"],
];

export function figures({ timings, usage, cost }, started) {
  const rows = [
    ["First token", timings.firstTokenMs ? milliseconds(timings.firstTokenMs) : "none"],
    ["Total", milliseconds(timings.totalMs)],
    ["Tokens", tokens(usage)],
    ["Cost", costs(cost)],
  ];
  return el(
    "div.figures",
    {},
    el("dl", {}, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("details.stages", {}, el("summary", {}, "Where the time went"), stages(timings), ids(started)),
  );
}

/** What an operator asks for. */
function ids({ requestId, traceId } = {}) {
  const known = [
    ["Request id", requestId],
    ["Trace id", traceId],
  ].filter(([, id]) => id);
  return el("p.fine.ids", {}, ...known.flatMap(([name, id]) => [`${name} `, el("code", {}, id), " "]));
}

function tokens({ promptTokens, completionTokens, savedTokens, isEstimate }) {
  const about = isEstimate ? "about " : "";
  const saved = savedTokens ? `, ${count(savedTokens)} saved` : "";
  const read = promptTokens ? `${count(promptTokens)} in, ` : ""; // an extractive answer has no prompt
  return `${about}${read}${count(completionTokens)} out${saved}`;
}

function costs({ amount, saved, currency }) {
  const spent = amount ? money(amount, currency) : "nothing";
  return saved ? `${spent}, ${money(saved, currency)} saved` : spent;
}

function stages(timings) {
  const longest = Math.max(...STAGES.map(([key]) => timings[key] || 0), 0.001);
  return el(
    "dl.stage-list",
    {},
    ...STAGES.map(([key, name]) => {
      const bar = el("span.stage-bar", { aria: { hidden: "true" } });
      // Through the CSSOM, which the content security policy allows; a style attribute it does not.
      bar.style.width = `${((timings[key] || 0) / longest) * 100}%`;
      return el(
        "div",
        {},
        el("dt", {}, name),
        el("dd", {}, el("span.stage-track", {}, bar), el("span", {}, milliseconds(timings[key]))),
      );
    }),
  );
}
