// Where a question is written: the text, its options, and the keys.

import { status } from "./announce.js";
import { byId, el, replaceChildren } from "./dom.js";
import { chipWords } from "./filters.js";

const TOP_K = { least: 1, most: 20, usual: 5 };
const EXAMPLES = [
  "What are the three services of askmesh?",
  "Why is a cached answer never stale?",
  "What happens when the retriever is down?",
];

export class Composer {
  #question = byId("question");
  #topK = byId("top-k");
  #send = byId("send");
  #stop = byId("stop");

  /** @param {{filters: Filters, conversation: Conversation, collection: () => string}} context */
  constructor(context) {
    this.context = context;
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.#question.addEventListener("keydown", (event) => this.#key(event));
    this.#stop.addEventListener("click", () => context.conversation.stop());
    this.#topK.addEventListener("change", () => this.#clampTopK());
    context.conversation.onRunning = (isRunning) => this.#running(isRunning);
    document.addEventListener("keydown", (event) => this.#pageKey(event));
    this.#startOptions(byId("toggle-options"), byId("options"));
    this.#showExamples();
  }

  focus() {
    this.#question.focus();
  }

  /** Put an earlier question back, as it was asked. */
  reuse({ question, topK, chips }) {
    this.#question.value = question;
    if (topK) this.#topK.value = topK;
    this.context.filters.chips = chips;
    this.focus();
  }

  #ask() {
    const question = this.#question.value.trim();
    if (!question) return this.focus();
    if (this.context.conversation.isRunning) return status("An answer is being written. Press Escape to stop it.");
    const { filters } = this.context;
    const topK = this.#clampTopK();
    const chips = filters.chips;
    this.#question.value = "";
    byId("examples").hidden = true;
    byId("welcome").classList.add("small");
    if (matchMedia("(pointer: coarse)").matches) this.#question.blur(); // a phone's keyboard would hide the answer
    return this.context.conversation.ask({
      question,
      collection: this.context.collection(),
      topK,
      chips,
      details: chips.map(chipWords).join("; "),
      filter: filters.value,
      cachePolicy: byId("cache-policy").value,
      isStreamed: byId("stream").checked,
    });
  }

  #key(event) {
    // Enter also ends the composition of a character, which is no question yet.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#ask();
  }

  #pageKey(event) {
    if (document.querySelector("dialog[open]")) return;
    const isTyping = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && this.context.conversation.isRunning) {
      this.context.conversation.stop();
    } else if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.focus();
    }
  }

  #running(isRunning) {
    const hadFocus = document.activeElement === this.#send || document.activeElement === this.#stop;
    this.#send.hidden = isRunning;
    this.#stop.hidden = !isRunning;
    if (hadFocus) (isRunning ? this.#stop : this.#question).focus();
  }

  #clampTopK() {
    const wanted = Math.round(Number(this.#topK.value)) || TOP_K.usual;
    const value = Math.min(Math.max(wanted, TOP_K.least), TOP_K.most);
    this.#topK.value = value;
    return value;
  }

  #startOptions(button, panel) {
    button.addEventListener("click", () => {
      panel.hidden = !panel.hidden;
      button.setAttribute("aria-expanded", String(!panel.hidden));
    });
  }

  #showExamples() {
    replaceChildren(
      byId("example-list"),
      EXAMPLES.map((question) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              on: {
                click: () => {
                  this.#question.value = question;
                  this.#ask();
                },
              },
            },
            question,
          ),
        ),
      ),
    );
  }
}
