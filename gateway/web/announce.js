// What a screen reader hears. The visible answer changes with every token and is not live; whole sentences are repeated
// in a log that is, so that speech neither stutters nor falls silent.

import { byId, el } from "./dom.js";

const SENTENCE = /(?:[^.!?\n]|[.!?](?!\s))*(?:[.!?]+(?=\s)|\n)/y; // "1.5" holds no end of a sentence

export function status(text) {
  byId("announce-status").textContent = text;
}

export class Speaker {
  #held = "";
  #log = byId("announce-answer");

  constructor() {
    this.#log.replaceChildren();
  }

  push(text) {
    this.#held += text;
    const [said, rest] = sentences(this.#held);
    this.#held = rest;
    this.#say(said);
  }

  finish() {
    this.#say(this.#held);
    this.#held = "";
  }

  #say(text) {
    const words = text.replace(/\s*\[(\d+)\]/g, ", source $1").trim();
    if (words) this.#log.append(el("p", {}, words));
  }
}

/** Whole sentences, and what is still open. Pure. A full stop at the very end may be a number's: it waits. */
export function sentences(text) {
  let at = 0;
  SENTENCE.lastIndex = 0;
  while (SENTENCE.test(text)) at = SENTENCE.lastIndex;
  return [text.slice(0, at), text.slice(at)];
}
