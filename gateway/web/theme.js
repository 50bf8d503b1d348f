// Colours: the system's, or light, or dark by the reader's choice. Loaded first, so that the page never flashes.

import { ICONS, icon } from "./dom.js";
import { read, write } from "./storage.js";

const KEY = "askmesh.theme";
const ORDER = ["auto", "light", "dark"];
const WORDS = { auto: "automatic", light: "light", dark: "dark" };

function stored() {
  const theme = read(KEY, "auto");
  return ORDER.includes(theme) ? theme : "auto";
}

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function start(button) {
  const show = (theme) => {
    apply(theme);
    button.replaceChildren(icon(ICONS[theme]));
    button.setAttribute("aria-label", `Colours: ${WORDS[theme]}`);
    button.title = `Colours: ${WORDS[theme]}`;
  };
  button.addEventListener("click", () => {
    const theme = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length];
    write(KEY, theme === "auto" ? null : theme);
    show(theme);
  });
  show(stored());
}

apply(stored());
