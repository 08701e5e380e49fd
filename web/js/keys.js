// Keyboard shortcuts, and the list of them in the help.

import { byId, make } from "./dom.js";

/** @typedef {{key: string, shown?: string, does: string, run: () => void}} Shortcut */

/** @param {readonly Shortcut[]} shortcuts */
export function listen(shortcuts) {
  const rows = shortcuts.flatMap(({ key, shown, does }) => [
    make("dt", {}, make("kbd", {}, shown ?? key.toUpperCase())),
    make("dd", {}, does),
  ]);
  byId("keys", HTMLElement).replaceChildren(...rows);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.repeat) return;
    if (document.querySelector("dialog[open]") || isBusy(event.target, event.key)) return;
    const shortcut = shortcuts.find(({ key }) => key === event.key.toLowerCase());
    if (!shortcut) return;
    event.preventDefault();
    shortcut.run();
  });
}

/** Whether this element wants the key for itself. @param {EventTarget | null} target @param {string} key */
function isBusy(target, key) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches("textarea, select, input:not([type=range], [type=checkbox])")) return true;
  return key === " " && target.matches("button, input, a, [role=slider]");
}
