// Tabs of the library, and the library itself on a narrow screen, where it takes the page's place.
// Source: WAI-ARIA Authoring Practices, "Tabs".

import { byId } from "./dom.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

export function startTabs(...tabs) {
  const choose = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  });
}

export function startLibraryButton(button) {
  const show = (isOpen) => {
    document.body.dataset.view = isOpen ? "library" : "ask";
    button.setAttribute("aria-expanded", String(isOpen));
    button.textContent = isOpen ? "Back" : "Library";
  };
  button.addEventListener("click", () => show(document.body.dataset.view !== "library"));
  return { close: () => show(false) };
}
