// The caller's credentials: kept for this tab only, sent as a bearer token, never shown again.

import { ICONS, el, icon } from "./dom.js";
import { openDialog } from "./dialog.js";

const KEY = "askmesh.token";

let onChange = () => undefined;
let isOpen = false;

export function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** The server wants credentials, or other ones. */
export function refused() {
  open(sessionStorage.getItem(KEY) ? "The server does not accept this token." : "This server asks for a token.");
}

export function start(button, changed) {
  onChange = changed;
  button.append(icon(ICONS.key));
  button.addEventListener("click", () => open());
}

function open(notice = "") {
  if (isOpen) return;
  isOpen = true;
  const input = el("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "8192",
    aria: { describedby: "token-hint" },
  });
  const form = el(
    "form.stack",
    { novalidate: true },
    notice ? el("p.note", { role: "alert" }, notice) : null,
    el(
      "div.field",
      {},
      el("label", { for: "token" }, "Token"),
      input,
      el(
        "small",
        { id: "token-hint" },
        "An API key or a JWT. It is kept in this tab only and gone when the tab closes.",
      ),
    ),
    el(
      "div.dialog-actions",
      {},
      headers().authorization
        ? el("button.quiet", { type: "button", on: { click: () => save("") } }, "Forget token")
        : null,
      el("button.primary", { type: "submit" }, "Use token"),
    ),
  );
  const dialog = openDialog({
    title: "Access",
    body: form,
    onClose: () => {
      isOpen = false;
    },
  });
  const save = (token) => {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
    dialog.close();
    onChange();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(input.value.trim());
  });
  input.focus();
}
