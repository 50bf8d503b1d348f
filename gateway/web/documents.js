// The documents of the collection, grouped by where they came from. A click asks one of them alone.

import { deleteDocument, listDocuments } from "./api.js";
import { status } from "./announce.js";
import { confirmed } from "./dialog.js";
import { ICONS, el, icon, replaceChildren } from "./dom.js";
import { openDocument } from "./reader.js";
import { Uploads } from "./uploads.js";
import { count, counted, errorWords } from "./words.js";

const OPEN_BELOW = 40; // documents in all: as many rows as one still scrolls through
const ROWS = 200; // of one group at a time; thousands of rows would make typing in the search slow

export class Documents {
  #documents = [];
  #total = 0;
  #nextPage = "";
  #loading = 0;
  #summary = el("p.library-summary");
  #search = el("input", {
    type: "search",
    id: "document-search",
    placeholder: "Search documents",
    autocomplete: "off",
    aria: { label: "Search documents" },
  });
  #groups = el("div.groups");
  #more = el("button.quiet.more", { type: "button", hidden: true }, "Load more");

  /** @param {{collection: () => string, onOnly: (documentId: string) => void, onChanged: () => void}} context */
  constructor(panel, context) {
    this.context = context;
    this.uploads = new Uploads({ collection: context.collection, onStored: context.onChanged });
    this.#search.addEventListener("input", () => this.#render());
    this.#more.addEventListener("click", () => this.#page());
    panel.append(this.uploads.node, this.#search, this.#summary, this.#groups, this.#more);
  }

  async load() {
    this.#documents = [];
    this.#nextPage = "";
    await this.#page({ isFirst: true });
  }

  async #page({ isFirst = false } = {}) {
    const turn = (this.#loading += 1); // a slower answer for another collection must not overwrite this one
    try {
      const page = await listDocuments(this.context.collection(), this.#nextPage);
      if (turn !== this.#loading) return;
      this.#documents.push(...page.documents);
      this.#total = page.totalSize;
      this.#nextPage = page.nextPageToken;
      this.#render();
    } catch (error) {
      if (turn === this.#loading) this.#failed(error, isFirst);
    }
  }

  #failed(error, isFirst) {
    const isMissing = error.reason === "COLLECTION_NOT_FOUND";
    this.#summary.textContent = isMissing ? "No documents yet. Add the first one above." : errorWords(error).join(" ");
    if (!isFirst) return;
    this.#search.hidden = isMissing;
    this.#more.hidden = true;
    replaceChildren(this.#groups);
  }

  #render() {
    const words = this.#search.value.trim().toLowerCase();
    const found = this.#documents.filter((one) => matches(one, words));
    const isWhole = this.#documents.length >= this.#total;
    this.#search.hidden = this.#total === 0;
    this.#more.hidden = !this.#nextPage;
    this.#summary.textContent = summary({
      words,
      found: found.length,
      loaded: this.#documents.length,
      total: this.#total,
      isWhole,
    });
    const isOpen = words !== "" || found.length <= OPEN_BELOW;
    replaceChildren(
      this.#groups,
      grouped(found).map(([source, members]) => this.#group(source, members, isOpen)),
    );
  }

  #group(source, members, isOpen) {
    const chunks = members.reduce((sum, one) => sum + one.chunkCount, 0);
    const list = el("ul.documents");
    const fill = () => {
      if (!list.children.length) this.#rows(list, members, 0);
    };
    const group = el(
      "details.group",
      { open: isOpen, on: { toggle: fill } },
      el(
        "summary",
        {},
        el("span.group-name", {}, source || "No source"),
        el("span.row-where", {}, `${count(members.length)} · ${counted(chunks, "chunk")}`),
      ),
      list,
    );
    if (isOpen) fill();
    return group;
  }

  #rows(list, members, from) {
    list.append(...members.slice(from, from + ROWS).map((one) => this.#row(one)));
    if (members.length <= from + ROWS) return;
    const more = el(
      "li",
      {},
      el("button.quiet.more", { type: "button" }, `${count(members.length - from - ROWS)} more`),
    );
    more.firstElementChild.addEventListener("click", () => {
      more.remove();
      this.#rows(list, members, from + ROWS);
    });
    list.append(more);
  }

  #row(document) {
    const { documentId } = document;
    const name = document.title || documentId;
    const action = (label, path, run) =>
      el(
        "button.icon-button",
        { type: "button", title: label, aria: { label: `${label}: ${name}` }, on: { click: run } },
        icon(path),
      );
    return el(
      "li.document",
      {},
      el(
        "button.row-button",
        { type: "button", title: "Ask this document only", on: { click: () => this.context.onOnly(documentId, this.context.collection()) } },
        el("span.row-title", {}, name),
        el(
          "span.row-where",
          {},
          [document.title ? documentId : "", counted(document.chunkCount, "chunk")].filter(Boolean).join(" · "),
        ),
      ),
      action("Read", ICONS.page, () =>
        openDocument({ collection: this.context.collection(), document, onOnly: this.context.onOnly }),
      ),
      action("Delete", ICONS.bin, () => this.#delete(document)),
    );
  }

  async #delete({ documentId, title }) {
    const collection = this.context.collection();
    const text = `${title || documentId} is removed from ${collection}, and no answer will quote it again.`;
    if (!(await confirmed({ title: "Delete this document?", text, action: "Delete" }))) return;
    try {
      await deleteDocument(collection, documentId);
      status("Document deleted.");
    } catch (error) {
      this.#summary.textContent = errorWords(error).join(" ");
      if (error.reason !== "DOCUMENT_NOT_FOUND") return;
    }
    this.#search.focus();
    this.context.onChanged();
  }
}

function matches({ documentId, title, source }, words) {
  return words === "" || [documentId, title, source].some((text) => text.toLowerCase().includes(words));
}

function summary({ words, found, loaded, total, isWhole }) {
  if (total === 0) return "No documents yet. Add the first one above.";
  const scope = isWhole ? counted(total, "document") : `${count(loaded)} of ${counted(total, "document")} loaded`;
  return words ? `${count(found)} found in ${scope}` : scope;
}

/** By source, those without one last. Pure. */
export function grouped(documents) {
  const groups = new Map();
  for (const one of documents) {
    const members = groups.get(one.source);
    if (members) members.push(one);
    else groups.set(one.source, [one]);
  }
  return [...groups].sort(([a], [b]) => (a === "") - (b === "") || a.localeCompare(b));
}
