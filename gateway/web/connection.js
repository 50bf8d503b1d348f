// Whether the server answers: asked now and then while the page is looked at, and at once when something broke.

import { readiness } from "./api.js";

const EVERY_MS = 15_000;
const WORDS = { ready: "Connected", "not-ready": "Not ready", offline: "Not reachable" };

export class Connection {
  #state = "";
  #timer = 0;

  /** @param {() => void} onBack The server answers again after it did not. */
  constructor(node, onBack) {
    this.node = node;
    this.onBack = onBack;
    document.addEventListener("visibilitychange", () => this.check());
    this.check();
  }

  async check() {
    clearTimeout(this.#timer);
    if (document.visibilityState === "hidden") return;
    this.#show(await readiness());
    this.#timer = setTimeout(() => this.check(), EVERY_MS);
  }

  #show(state) {
    if (state === this.#state) return;
    const wasAway = this.#state !== "" && this.#state !== "ready";
    this.#state = state;
    this.node.dataset.state = state;
    this.node.title = location.host;
    this.node.firstElementChild.textContent = WORDS[state];
    if (wasAway && state === "ready") this.onBack();
  }
}
