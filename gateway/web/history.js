// The last ten questions of this browser, to be asked again.

import { el, replaceChildren } from "./dom.js";
import { read, write } from "./storage.js";

const KEY = "askmesh.history";
const LENGTH = 10;

export class History {
  #list = el("ul.history");
  #empty = el("p.note", {}, "Questions you ask appear here. They stay in this browser.");
  #clear = el("button.quiet", { type: "button" }, "Clear history");

  /** @param {(entry: {question: string, collection: string, topK: number, chips: object[]}) => void} onReuse */
  constructor(panel, onReuse) {
    this.onReuse = onReuse;
    this.#clear.addEventListener("click", () => this.#save([]));
    panel.append(this.#empty, this.#list, this.#clear);
    this.#render();
  }

  get entries() {
    const stored = read(KEY, []);
    return Array.isArray(stored) ? stored.filter((entry) => typeof entry?.question === "string").slice(0, LENGTH) : [];
  }

  add(entry) {
    const others = this.entries.filter((one) => one.question !== entry.question || one.collection !== entry.collection);
    this.#save([entry, ...others].slice(0, LENGTH));
  }

  #save(entries) {
    write(KEY, entries);
    this.#render(entries);
  }

  #render(entries = this.entries) {
    this.#empty.hidden = entries.length > 0;
    this.#clear.hidden = entries.length === 0;
    replaceChildren(this.#list, entries.map((entry) => el("li", {},
      el("button.row-button", { type: "button", on: { click: () => this.onReuse(entry) } },
        el("span.row-title", {}, entry.question),
        el("span.row-where", {}, describe(entry)),
      ),
    )));
  }
}

function describe({ collection, chips }) {
  const filters = Array.isArray(chips) && chips.length ? `, ${chips.length} filter${chips.length > 1 ? "s" : ""}` : "";
  return `${collection ?? ""}${filters}`;
}
