// Which collection is asked. One that does not exist yet can be named: its first document creates it.

import { listCollections } from "./api.js";
import { openDialog } from "./dialog.js";
import { el, replaceChildren } from "./dom.js";
import { read, write } from "./storage.js";
import { count } from "./words.js";

const KEY = "askmesh.collection";
const DEFAULT = "docs";
const NEW = "\n"; // no collection can have this name
const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

export class Collections {
  #known = [];
  #current = String(read(KEY, DEFAULT));

  /**
   * @param {HTMLSelectElement} select
   * @param {{onChosen: () => void, onChange: (collection: object|null) => void}} told `onChosen`: it is another one now.
   */
  constructor(select, { onChosen, onChange }) {
    this.select = select;
    this.onChosen = onChosen;
    this.onChange = onChange;
    select.addEventListener("change", () => this.#chosen(select.value));
    this.#render();
  }

  get current() {
    return this.#current;
  }

  /** @throws {ApiError} */
  async load() {
    this.#known = await listCollections();
    const names = this.#known.map((one) => one.collection);
    const isKnown = names.includes(this.#current);
    if (!isKnown && read(KEY, null) === null && names.length)
      this.#current = names.includes(DEFAULT) ? DEFAULT : names[0];
    this.#render();
    this.onChange(this.#known.find((one) => one.collection === this.#current) ?? null);
  }

  choose(name) {
    this.#current = name;
    write(KEY, name);
    this.onChosen();
    this.#render();
    this.onChange(this.#known.find((one) => one.collection === name) ?? null);
  }

  #chosen(value) {
    if (value !== NEW) return this.choose(value);
    this.select.value = this.#current;
    return this.#askName();
  }

  #render() {
    const known = this.#known.map(({ collection, documentCount }) =>
      option(collection, `${collection} (${count(documentCount)})`),
    );
    const isKnown = this.#known.some((one) => one.collection === this.#current);
    const own = isKnown ? [] : [option(this.#current, this.#known.length ? `${this.#current} (new)` : this.#current)];
    replaceChildren(this.select, [...known, ...own, option(NEW, "New collection")]);
    this.select.value = this.#current;
  }

  #askName() {
    const input = el("input", {
      id: "collection-name",
      maxlength: "64",
      autocomplete: "off",
      spellcheck: "false",
      aria: { describedby: "collection-hint" },
    });
    const hint = el(
      "small",
      { id: "collection-hint" },
      "Small letters, digits, dashes and underscores. The first document creates it.",
    );
    const form = el(
      "form.stack",
      { novalidate: true },
      el("div.field", {}, el("label", { for: "collection-name" }, "Name"), input, hint),
      el("div.dialog-actions", {}, el("button.primary", { type: "submit" }, "Use this name")),
    );
    const dialog = openDialog({ title: "New collection", body: form, kind: "small" });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = input.value.trim();
      input.setAttribute("aria-invalid", String(!NAME.test(name)));
      if (!NAME.test(name)) return input.focus();
      dialog.close();
      return this.choose(name);
    });
    input.focus();
  }
}

const option = (value, label) => el("option", { value }, label);
