// One ask as a sequence of events, whether it is streamed or comes whole: the page knows one way to show an answer.

import { ApiError, ask, streamAsk } from "./api.js";
import { events } from "./sse.js";

const MAX_RESUMES = 2; // the server holds an answer for a minute; a third break is not a hiccup
const RESUME_PAUSE_MS = 400;

/**
 * @param {{collection: string, request: object, isStreamed: boolean, signal: AbortSignal}} what
 * @yields {{name: string, data: object}} answer.started, retrieval.completed, citation.added, answer.delta and
 *   answer.completed
 */
export function answerEvents({ collection, request, isStreamed, signal }) {
  return isStreamed ? streamed(collection, request, signal) : whole(collection, request, signal);
}

async function* whole(collection, request, signal) {
  const answer = await ask(collection, request, { signal });
  yield { name: "answer.started", data: answer.started };
  yield { name: "retrieval.completed", data: answer.retrieval };
  for (const citation of answer.citations) yield { name: "citation.added", data: { citation } };
  if (answer.text) yield { name: "answer.delta", data: { text: answer.text } };
  yield { name: "answer.completed", data: answer.completed };
}

async function* streamed(collection, request, signal) {
  let lastEventId = "";
  for (let resumes = 0; ; resumes += 1) {
    try {
      for await (const event of oneConnection(collection, request, signal, lastEventId)) {
        lastEventId = event.id || lastEventId;
        yield event;
        if (event.name === "answer.completed") return;
      }
    } catch (error) {
      if (!isBreak(error) || !lastEventId) throw error;
    }
    // It ended or broke in the middle: the rest is asked for by the last id, which never starts a new answer.
    if (!lastEventId || resumes >= MAX_RESUMES) throw new ApiError({ reason: "BROKEN" });
    await pause(RESUME_PAUSE_MS * (resumes + 1), signal);
  }
}

async function* oneConnection(collection, request, signal, lastEventId) {
  const response = await streamAsk(collection, request, { signal, lastEventId });
  if (response.status === 204 || !response.body) throw new ApiError({ reason: "BROKEN" });
  for await (const { name, data, id } of events(response.body)) {
    const message = JSON.parse(data);
    if (name === "error") throw ApiError.from(message);
    yield { name, data: message, id };
  }
}

function isBreak(error) {
  if (error.name === "AbortError") return false;
  return !(error instanceof ApiError) || error.reason === "NETWORK";
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
