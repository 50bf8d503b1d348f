// The last ten questions of this browser, to be asked again.

import { el, replaceChildren } from "./dom.js";
import { read, write } from "./storage.js";
import { counted } from "./words.js";

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
    return Array.isArray(stored)
      ? stored
          .filter((entry) => typeof entry?.question === "string")
          .slice(0, LENGTH)
          .map(known)
      : [];
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
    replaceChildren(
      this.#list,
      entries.map((entry) =>
        el(
          "li",
          {},
          el(
            "button.row-button",
            { type: "button", on: { click: () => this.onReuse(entry) } },
            el("span.row-title", {}, entry.question),
            el("span.row-where", {}, describe(entry)),
          ),
        ),
      ),
    );
  }
}

/** An entry as this version writes it, whatever version wrote it. */
function known({ question, collection, topK, chips }) {
  const whole = (chip) =>
    typeof chip?.field === "string" && typeof chip.operator === "string" && Array.isArray(chip.values);
  return {
    question,
    collection: String(collection ?? ""),
    topK: Number(topK) || 0,
    chips: Array.isArray(chips) ? chips.filter(whole) : [],
  };
}

function describe({ collection, chips }) {
  return [collection, chips.length ? counted(chips.length, "filter") : ""].filter(Boolean).join(", ");
}
