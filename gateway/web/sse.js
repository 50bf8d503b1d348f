// Server-sent events from a fetch: EventSource can neither POST nor send credentials.
// Source: WHATWG HTML, "Interpreting an event stream".

/**
 * @param {ReadableStream<Uint8Array>} body
 * @yields {{name: string, data: string, id: string}}
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    // Leaving the loop early must also leave the connection, so that the server stops.
    await reader.cancel().catch(() => undefined);
  }
}

export class EventParser {
  #held = "";
  #name = "";
  #id = "";
  #data = [];

  *push(text) {
    this.#held += text;
    // A lone CR at the end may be half a CRLF: it waits for the next piece.
    const whole = this.#held.endsWith("\r") ? this.#held.length - 1 : this.#held.length;
    const lines = this.#held.slice(0, whole).split(/\r\n|\r|\n/);
    this.#held = lines.pop() + this.#held.slice(whole);
    for (const line of lines) {
      if (line === "") yield* this.#dispatch();
      else this.#field(line);
    }
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }

  *#dispatch() {
    if (this.#data.length) yield { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
    this.#name = "";
    this.#data = [];
  }
}
