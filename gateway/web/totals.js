// Running totals since the page was opened.

import { el, replaceChildren } from "./dom.js";
import { count, isHit, milliseconds, money, percent } from "./words.js";

export class Totals {
  #asks = 0;
  #completed = 0;
  #ms = 0;
  #last = 0;
  #hits = 0;
  #cost = 0;
  #currency = "USD";

  constructor(node) {
    this.node = node;
    this.#render();
  }

  asked() {
    this.#asks += 1;
    this.#render();
  }

  completed(started, completed) {
    this.#completed += 1;
    this.#last = completed.timings.totalMs;
    this.#ms += this.#last;
    this.#hits += isHit(started?.cache) ? 1 : 0;
    this.#cost += completed.cost.amount;
    this.#currency = completed.cost.currency;
    this.#render();
  }

  #render() {
    const measured = this.#completed && [
      ["Average", milliseconds(this.#ms / this.#completed)],
      ["Last", milliseconds(this.#last)],
      ["Cache hits", `${count(this.#hits)} (${percent(this.#hits / this.#completed)})`],
      ["Cost", this.#cost ? money(this.#cost, this.#currency) : "nothing"],
    ];
    const rows = [["Asked", count(this.#asks)], ...(measured || [])];
    replaceChildren(
      this.node,
      rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );
  }
}
