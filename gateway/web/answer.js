// One answer on the page, from the question to its figures. It is told what happens and shows it; it asks nothing.

import { Speaker, status } from "./announce.js";
import { el, replaceChildren } from "./dom.js";
import { figures } from "./figures.js";
import { degradedBox, errorBox, sameDegradation } from "./notices.js";
import { Prose } from "./prose.js";
import { SourceList } from "./sources.js";
import { supporting } from "./support.js";
import { cacheBadge, counted, errorWords, groundingBadge, isHit, partialWords } from "./words.js";

export class AnswerView {
  text = "";
  #speaker = new Speaker();
  #degraded = [];
  #badges = el("p.badges");
  #notices = el("div.notices");
  #progress = el(
    "p.progress",
    {},
    el("span.spinner", { aria: { hidden: "true" } }),
    el("span", {}, "Looking for passages"),
  );
  #figures = el("div.figures-slot");
  #actions = el("div.turn-actions");

  /**
   * @param {{question: string, details: string, collection: string, onOnly: (documentId: string, collection: string) => void,
   *   onAgain: (change?: {cachePolicy: string}) => void}} context
   */
  constructor(context) {
    this.context = context;
    this.sources = new SourceList(context);
    this.prose = new Prose((marker, at) => this.#citation(marker, at));
    this.node = el(
      "article.turn",
      { aria: { busy: "true", label: `Answer to: ${context.question}` } },
      el(
        "header.turn-head",
        {},
        el("h3.question", {}, context.question),
        context.details ? el("p.turn-details", {}, context.details) : null,
      ),
      this.#badges,
      this.#notices,
      this.#progress,
      this.prose.node,
      this.sources.node,
      this.#figures,
      this.#actions,
    );
  }

  /** Show one event of the answer; names newer than this page are passed over. */
  show({ name, data }) {
    switch (name) {
      case "answer.started":
        return this.#started(data);
      case "retrieval.completed":
        return this.#retrieved(data);
      case "citation.added":
        return this.sources.cite(data.citation, this.text.length);
      case "answer.delta":
        return this.#more(data.text);
      case "answer.completed":
        return this.#completed(data);
      default:
        return undefined;
    }
  }

  #started(started) {
    this.started = started;
    const badge = cacheBadge(started.cache);
    if (badge) this.#badge(badge);
    if (started.model) this.#badge({ label: started.model, tone: "plain" });
  }

  #retrieved(retrieval) {
    this.sources.show(retrieval.sources);
    this.#showDegraded(retrieval.degraded);
    this.#phase(`Reading ${counted(retrieval.sources.length, "passage")}`);
  }

  #more(text) {
    this.#progress.hidden = true;
    this.node.classList.add("writing");
    this.text += text;
    this.prose.show(this.text);
    this.#speaker.push(text);
  }

  #completed(completed) {
    this.completed = completed;
    const grounding = groundingBadge(completed.grounding);
    if (grounding) this.#badge(grounding);
    this.#showDegraded(completed.degraded);
    const partial = partialWords(completed);
    if (partial) this.#notice("partial", partial);
    this.#figures.append(figures(completed, this.started));
    this.#end("Answer complete.");
  }

  /** The reader stopped it. */
  stopped() {
    this.#notice("partial", "Partial: you stopped this answer.");
    this.#end("Stopped.");
  }

  failed(error) {
    const [what] = errorWords(error);
    if (this.text) this.#notice("partial", "Partial: this is what had arrived.");
    replaceChildren(this.#actions);
    this.#notices.append(errorBox(error, () => this.context.onAgain()));
    this.#end(what, { hasActions: false });
  }

  #end(words, { hasActions = true } = {}) {
    this.#progress.hidden = true;
    this.node.classList.remove("writing");
    this.node.setAttribute("aria-busy", "false");
    this.#speaker.finish();
    status(words);
    if (hasActions) this.#actions.append(...this.#endActions());
  }

  #endActions() {
    // Asked again as it was, a cached question would only give the cached answer.
    const [label, change] = isHit(this.started?.cache)
      ? ["Answer afresh", { cachePolicy: "CACHE_POLICY_REFRESH" }]
      : ["Ask again"];
    const again = el("button.quiet", { type: "button", on: { click: () => this.context.onAgain(change) } }, label);
    if (!this.text || !navigator.clipboard) return [again];
    const copy = el("button.quiet", { type: "button" }, "Copy answer");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(this.#plainText());
      status("Copied.");
      copy.textContent = "Copied";
      setTimeout(() => {
        copy.textContent = "Copy answer";
      }, 1600);
    });
    return [copy, again];
  }

  #plainText() {
    const cited = (this.completed?.citedMarkers ?? []).map((marker) => this.sources.source(marker)).filter(Boolean);
    const lines = cited.map(
      (source) => `[${source.marker}] ${source.title || source.documentId}${source.uri ? `, ${source.uri}` : ""}`,
    );
    return [this.text, ...(lines.length ? ["", ...lines] : [])].join("\n");
  }

  #citation(marker, at) {
    const source = this.sources.source(marker);
    if (!source) return null;
    const name = source.title || source.documentId;
    return el(
      "button.cite",
      {
        type: "button",
        title: name,
        data: { marker, at },
        aria: { label: `Source ${marker}: ${name}` },
        on: { click: () => this.#jump(marker, at) },
      },
      String(marker),
    );
  }

  /** To the source of a marker, and in it to the words behind this use of the marker. */
  #jump(marker, at) {
    const markers = this.prose.node.querySelectorAll(`.cite[data-marker="${marker}"]`);
    const uses = [...markers].map((button) => Number(button.dataset.at));
    this.sources.jump(marker, supporting(this.sources.quotes(marker), { text: this.text, uses, at }));
  }

  #badge({ label, tone }) {
    this.#badges.append(el(`span.badge.${tone}`, {}, label));
  }

  #phase(text) {
    this.#progress.lastElementChild.textContent = text;
    status(text);
  }

  #notice(kind, text) {
    this.#notices.append(el(`p.notice.${kind}`, {}, text));
  }

  /** The last report holds the first; each degradation is shown once. */
  #showDegraded(degraded) {
    const known = new Set(this.#degraded.map(sameDegradation));
    const fresh = degraded.filter((one) => !known.has(sameDegradation(one)));
    if (!fresh.length) return;
    this.#degraded.push(...fresh);
    this.#notices.querySelector(".degraded")?.remove();
    this.#notices.prepend(degradedBox(this.#degraded));
  }
}
