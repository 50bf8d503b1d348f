// What stands above an answer when something was missing, and in its place when it failed.

import { el } from "./dom.js";
import { degradedWords, errorWords, milliseconds } from "./words.js";

/** Why there is no answer, and what to do about it. */
export function errorBox(error, onAgain) {
  const [what, cure] = errorWords(error);
  const reason = error.reason === "NETWORK" || error.reason === "BROKEN" ? "" : error.reason;
  return el(
    "div.notice.error",
    { role: "alert" },
    el("p", {}, el("strong", {}, what), cure ? ` ${cure}` : ""),
    error.fields.length
      ? el("ul", {}, ...error.fields.map((one) => el("li", {}, `${one.field}: ${one.description}`)))
      : null,
    reason
      ? el("p.fine", {}, `Reason ${reason}`, error.requestId ? [". Request id ", el("code", {}, error.requestId)] : "")
      : null,
    retryButton(error.retryAfterMs, onAgain),
  );
}

export const sameDegradation = (one) => `${one.stage} ${one.reason}`;

/** What an answer had to do without, each in words. */
export function degradedBox(degraded) {
  const lines = degraded.map((one) => {
    const spent = one.milliseconds ? `, ${milliseconds(one.milliseconds)}` : "";
    const again = Number.parseFloat(one.retryAfter); // "30s", as protobuf writes durations
    return el(
      "li",
      {},
      degradedWords(one),
      one.effect ? el("span.fine", {}, ` ${one.effect}`) : null,
      again ? el("span.fine", {}, ` Worth asking again in ${Math.ceil(again)} s.`) : null,
      el("span.fine", {}, ` (${one.stage || "unknown stage"}${spent})`),
    );
  });
  return el(
    "div.notice.degraded",
    { role: "status" },
    el("p", {}, el("strong", {}, "This answer had to do without something.")),
    el("ul", {}, ...lines),
  );
}

/** "Try again", not before the server said it makes sense. */
function retryButton(afterMs, onAgain) {
  const button = el("button.secondary", { type: "button", on: { click: onAgain } }, "Try again");
  const until = Date.now() + afterMs;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
  return button;
}
