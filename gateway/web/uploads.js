// Files into the collection: chosen or dropped, several at once, each with its own progress and its own result.

import { putFile } from "./api.js";
import { status } from "./announce.js";
import { el } from "./dom.js";
import { bytes, counted, errorWords } from "./words.js";

const AT_ONCE = 2; // the server embeds on all its cores anyway; more only makes each bar slower
const USUAL_LIMIT = 32 * 1024 * 1024;
const ACCEPT = ".md,.txt,.html,.htm,.pdf,.docx,.pptx,.xlsx,.csv,.json";

export class Uploads {
  #queue = [];
  #running = 0;
  #list = el("ul.uploads", { aria: { label: "Uploads" } });
  #input = el("input.hidden", {
    type: "file",
    multiple: true,
    accept: ACCEPT,
    id: "files",
    tabindex: "-1",
    aria: { label: "Files to add" },
  });
  #source = el("input", {
    id: "upload-source",
    maxlength: "256",
    autocomplete: "off",
    placeholder: "handbook",
    aria: { describedby: "upload-source-hint" },
  });

  /** @param {{collection: () => string, onStored: () => void}} context `onStored`: a batch changed something. */
  constructor(context) {
    this.context = context;
    this.node = el("div.upload", {}, this.#zone(), this.#list);
    this.#input.addEventListener("change", () => {
      this.add([...this.#input.files]);
      this.#input.value = "";
    });
  }

  #zone() {
    const choose = el(
      "button.secondary",
      { type: "button", on: { click: () => this.#input.click() } },
      "Add documents",
    );
    const zone = el(
      "div.drop",
      {},
      el("div.drop-row", {}, choose, el("span.drop-words", {}, "or drop files here")),
      el(
        "details",
        {},
        el("summary", {}, "Label them"),
        el(
          "div.field",
          {},
          el("label", { for: "upload-source" }, "Source"),
          this.#source,
          el(
            "small",
            { id: "upload-source-hint" },
            "Where they come from. Documents are grouped by it, and answers can be filtered by it.",
          ),
        ),
      ),
      this.#input,
    );
    let depth = 0; // enter and leave fire for every child the pointer passes
    const over = (change) => {
      depth = Math.max(0, change === 0 ? 0 : depth + change);
      zone.classList.toggle("over", depth > 0);
    };
    zone.addEventListener("dragenter", () => over(1));
    zone.addEventListener("dragleave", () => over(-1));
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      over(0);
      this.#dropped(event.dataTransfer);
    });
    return zone;
  }

  #dropped(transfer) {
    const items = [...transfer.items].filter((item) => item.kind === "file");
    const folders = items.map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory);
    for (const folder of folders)
      this.#row(folder.name).fail("Folders cannot be dropped here.", "askmesh ingest FOLDER takes a whole folder.");
    const names = new Set(folders.map((folder) => folder.name));
    this.add([...transfer.files].filter((file) => !names.has(file.name)));
  }

  add(files) {
    const collection = this.context.collection();
    const source = this.#source.value.trim();
    for (const file of files) this.#queue.push({ file, collection, source, row: this.#row(file.name, file.size) });
    while (this.#running < AT_ONCE && this.#queue.length) this.#work();
  }

  async #work() {
    this.#running += 1;
    let isChanged = false;
    for (let job = this.#queue.shift(); job; job = this.#queue.shift())
      isChanged = (await this.#send(job)) || isChanged;
    this.#running -= 1;
    if (isChanged) this.context.onStored();
  }

  async #send({ file, collection, source, row }) {
    try {
      const stored = await putFile(collection, file.name, file, { source, onProgress: row.progress });
      const isNew = stored.outcome === "INGEST_OUTCOME_STORED";
      row.done(isNew ? `Stored, ${counted(stored.document.chunkCount, "chunk")}` : "Unchanged, it was there already");
      return isNew;
    } catch (error) {
      row.fail(...uploadWords(error, file.size));
      return false;
    }
  }

  #row(name, size = 0) {
    const bar = el("progress", { max: "1", value: "0", aria: { label: `Sending ${name}` } });
    const state = el("span.upload-state", {}, "Waiting");
    const node = el(
      "li",
      {},
      el("span.row-title", {}, name),
      el("span.row-where", {}, size ? bytes(size) : ""),
      bar,
      state,
    );
    this.#list.prepend(node);
    const end = (kind, text) => {
      node.dataset.state = kind;
      bar.remove();
      state.textContent = text;
      status(`${name}: ${text}`);
    };
    return {
      progress: (sent, total) => {
        bar.value = total ? sent / total : 0;
        state.textContent = sent < total ? `Sending, ${Math.floor((sent / total) * 100)} %` : "Reading and indexing";
      },
      done: (text) => end("done", text),
      fail: (what, cure) => end("failed", [what, cure].filter(Boolean).join(" ")),
    };
  }
}

function uploadWords(error, size) {
  if (error.reason === "NETWORK" && size > USUAL_LIMIT) {
    return ["The connection broke.", "The file may be over the server's limit, usually 32 MiB."];
  }
  const [what, cure] = errorWords(error);
  const fields = (error.fields ?? []).map((one) => `${one.field}: ${one.description}`).join("; ");
  return [fields ? `${what} ${fields}` : what, cure];
}
