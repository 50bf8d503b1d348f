// Modal dialogs: the browser's own element keeps the focus inside, closes on Escape and gives the focus back.

import { ICONS, el, icon } from "./dom.js";

let serial = 0;

/**
 * @param {{title: string, body: Node, kind?: string, onClose?: () => void}} what `kind`: a class; "drawer" fills
 *   the side.
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, body, kind = "", onClose = () => undefined }) {
  const id = `dialog-title-${(serial += 1)}`;
  const dialog = el(
    `dialog${kind ? `.${kind}` : ""}`,
    { aria: { labelledby: id } },
    el(
      "div.dialog-head",
      {},
      el("h2", { id }, title),
      el(
        "button.icon-button",
        { type: "button", aria: { label: "Close" }, on: { click: () => dialog.close() } },
        icon(ICONS.close),
      ),
    ),
    body,
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop belongs to the dialog element itself
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask before something that cannot be taken back. */
export function confirmed({ title, text, action }) {
  return new Promise((resolve) => {
    let answer = false;
    const cancel = el("button.quiet", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
    const agree = el(
      "button.primary.danger",
      {
        type: "button",
        on: {
          click: () => {
            answer = true;
            dialog.close();
          },
        },
      },
      action,
    );
    const body = el("div.stack", {}, el("p", {}, text), el("div.dialog-actions", {}, cancel, agree));
    const dialog = openDialog({ title, body, kind: "small", onClose: () => resolve(answer) });
    cancel.focus();
  });
}
