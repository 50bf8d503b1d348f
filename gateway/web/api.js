// The gateway's API as functions. Every failure is an ApiError: a reason to branch on, words, an id to quote.

import * as access from "./access.js";

const PAGE_SIZE = 1000; // the most the server gives at once

export class ApiError extends Error {
  /**
   * @param {{reason: string, message?: string, requestId?: string, status?: number, retryAfterMs?: number,
   *   fields?: {field: string, description: string}[]}} known
   */
  constructor({ reason, message = "", requestId = "", status = 0, retryAfterMs = 0, fields = [] }) {
    super(message);
    Object.assign(this, { reason, requestId, status, retryAfterMs, fields });
  }

  /** From the one error shape of the gateway, as a response's body or an `error` event's data. */
  static from(body, { status = 0, requestId = "", retryAfterS = 0 } = {}) {
    const error = body?.error ?? {};
    const details = Array.isArray(error.details) ? error.details : [];
    const detail = (name) => details.find((one) => String(one?.["@type"]).endsWith(`google.rpc.${name}`));
    return new ApiError({
      reason: String(error.reason || "HTTP_ERROR"),
      message: String(error.message || ""),
      requestId: String(error.requestId || requestId),
      status: Number(error.code) || status,
      retryAfterMs: durationMs(detail("RetryInfo")?.retryDelay) || retryAfterS * 1000,
      fields: detail("BadRequest")?.fieldViolations ?? [],
    });
  }
}

/** Milliseconds of a proto JSON duration ("0.300s"). */
export function durationMs(text) {
  const seconds = Number.parseFloat(text ?? "");
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}

/** A fetch whose failures are ApiErrors; an abort stays an AbortError. */
export async function call(path, { method = "GET", json, headers = {}, signal } = {}) {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const kind = body === undefined ? {} : { "content-type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, body, signal, headers: { ...kind, ...access.headers(), ...headers } });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError({ reason: "NETWORK" });
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

async function failureOf(response) {
  const body = await response.json().catch(() => null);
  const requestId = response.headers.get("x-request-id") ?? "";
  const retryAfterS = Number(response.headers.get("retry-after")) || 0;
  const error = ApiError.from(body, { status: response.status, requestId, retryAfterS });
  if (response.status === 401) access.refused();
  return error;
}

async function callJson(path, options) {
  const response = await call(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError({ reason: "NETWORK" });
  }
}

const collectionPath = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

/** A document's path. Slashes of an id stay slashes, but dot segments would be resolved away by the browser. */
export function documentPath(collection, documentId) {
  const segments = documentId.split("/");
  const isPlain = segments.every((segment) => segment !== "" && segment !== "." && segment !== "..");
  const encoded = isPlain ? segments.map(encodeURIComponent).join("/") : encodeURIComponent(documentId);
  return `${collectionPath(collection)}/documents/${encoded}`;
}

export const ask = (collection, request, { signal }) =>
  callJson(`${collectionPath(collection)}:ask`, { method: "POST", json: request, signal });

export const streamAsk = (collection, request, { signal, lastEventId = "" }) =>
  call(`${collectionPath(collection)}:streamAsk`, {
    method: "POST",
    json: request,
    signal,
    headers: { accept: "text/event-stream", ...(lastEventId ? { "last-event-id": lastEventId } : {}) },
  });

export async function listCollections() {
  const found = [];
  let token = "";
  do {
    const page = await callJson(`/v1/collections?pageSize=${PAGE_SIZE}&pageToken=${encodeURIComponent(token)}`);
    found.push(...page.collections);
    token = page.nextPageToken;
  } while (token);
  return found;
}

export const listDocuments = (collection, pageToken = "") =>
  callJson(`${collectionPath(collection)}/documents?pageSize=${PAGE_SIZE}&pageToken=${encodeURIComponent(pageToken)}`);

export const getDocument = (collection, documentId, { signal } = {}) =>
  callJson(`${documentPath(collection, documentId)}?view=DOCUMENT_VIEW_FULL`, { signal });

export const deleteDocument = (collection, documentId) =>
  callJson(documentPath(collection, documentId), { method: "DELETE" });

/**
 * Send a file as it is. XMLHttpRequest, because fetch tells nothing about the progress of a body.
 * @param {(sent: number, total: number) => void} onProgress
 */
export function putFile(collection, documentId, file, { source = "", onProgress }) {
  const query = source ? `?source=${encodeURIComponent(source)}` : "";
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", documentPath(collection, documentId) + query);
    // The server tells the format from the name and the bytes; what an operating system says of a .csv is often wrong.
    request.setRequestHeader("content-type", "application/octet-stream");
    for (const [name, value] of Object.entries(access.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded, event.total));
    request.addEventListener("load", () => settle(request, resolve, reject));
    request.addEventListener("error", () => reject(new ApiError({ reason: "NETWORK" })));
    request.send(file);
  });
}

function settle(request, resolve, reject) {
  let body = null;
  try {
    body = JSON.parse(request.responseText);
  } catch {
    // Not ours: a proxy's page. The status still tells.
  }
  if (request.status >= 200 && request.status < 300 && body) return resolve(body);
  if (request.status === 401) access.refused();
  const requestId = request.getResponseHeader("x-request-id") ?? "";
  return reject(ApiError.from(body, { status: request.status, requestId }));
}

/** "ready", "not-ready" or "offline". */
export async function readiness() {
  try {
    const response = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(4000) });
    return response.ok ? "ready" : "not-ready";
  } catch {
    return "offline";
  }
}
