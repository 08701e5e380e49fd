// Short messages in a corner: facts are read out politely, failures at once.

import { byId, make } from "./dom.js";

const SHOWN_MS = 6000;
const AT_MOST = 3;

/** Server messages are lowercase facts. @param {string} text */
export function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string} text @param {"status" | "alert"} [kind] */
export function toast(text, kind = "status") {
  const list = byId(`toasts-${kind}`, HTMLElement);
  if ([...list.children].some((child) => child.querySelector("p")?.textContent === text)) return;
  const close = make("button", { type: "button", className: "button quiet", ariaLabel: "Dismiss" });
  close.innerHTML = '<svg aria-hidden="true"><use href="#i-close"/></svg>';
  const item = make("div", { className: "toast" }, make("p", {}, text), close);
  close.addEventListener("click", () => item.remove());
  list.append(item);
  while (list.children.length > AT_MOST) list.firstElementChild?.remove();
  setTimeout(() => item.remove(), SHOWN_MS);
}
