// The answers of this page, newest first, and the one that is being written. One at a time: a second question waits for
// the reader to stop the first.

import { answerEvents } from "./ask.js";
import { AnswerView } from "./answer.js";
import { status } from "./announce.js";
import { ApiError } from "./api.js";
import { confirmed } from "./dialog.js";
import { byId } from "./dom.js";

const KEPT = 50; // answers on the page; each has a few hundred elements

export class Conversation {
  onRunning = () => undefined;
  #running = null;
  #answers = byId("answers");
  #head = byId("answers-head");

  /**
   * @param {{onOnly: (documentId: string, collection: string) => void, onAsked: (ask: object) => void,
   *   onCompleted: (started: object, completed: object) => void, onFailed: (error: ApiError) => void}} context
   */
  constructor(context) {
    this.context = context;
    byId("clear-answers").addEventListener("click", () => this.#clear());
  }

  get isRunning() {
    return this.#running !== null;
  }

  stop() {
    this.#running?.abort();
  }

  /** @param {{question, collection, topK, chips, details, filter, cachePolicy, isStreamed}} ask */
  async ask(ask) {
    if (this.isRunning) {
      status("An answer is being written. Stop it first, or wait for its end.");
      return;
    }
    const { onOnly, onAsked } = this.context;
    const view = new AnswerView({ ...ask, onOnly, onAgain: (change) => this.ask({ ...ask, ...change }) });
    this.#answers.prepend(view.node);
    while (this.#answers.children.length > KEPT) this.#answers.lastElementChild.remove();
    this.#head.hidden = false;
    view.node.scrollIntoView({ block: "nearest" });
    onAsked({ question: ask.question, collection: ask.collection, topK: ask.topK, chips: ask.chips });
    this.#setRunning(new AbortController());
    try {
      await this.#follow(view, ask, this.#running.signal);
    } finally {
      this.#setRunning(null);
    }
  }

  async #follow(view, ask, signal) {
    const { question, topK, filter, cachePolicy } = ask;
    const request = { question, topK, filter, cachePolicy };
    try {
      for await (const event of answerEvents({ ...ask, request, signal })) view.show(event);
      this.context.onCompleted(view.started, view.completed);
    } catch (error) {
      if (signal.aborted) return view.stopped();
      const shown =
        error instanceof ApiError
          ? error
          : new ApiError({ reason: "PAGE", message: "The page does not understand the server's answer." });
      view.failed(shown);
      this.context.onFailed(shown);
      if (shown !== error) throw error; // a bug of ours: seen on the page, and in the console
    }
    return undefined;
  }

  #setRunning(controller) {
    this.#running = controller;
    this.onRunning(controller !== null);
  }

  async #clear() {
    const text = "The answers are removed from this page. Your history stays.";
    if (!(await confirmed({ title: "Clear the answers?", text, action: "Clear" }))) return;
    this.stop();
    this.#answers.replaceChildren();
    this.#head.hidden = true;
    byId("examples").hidden = false;
    byId("welcome").classList.remove("small");
    byId("question").focus();
    status("Answers cleared.");
  }
}
