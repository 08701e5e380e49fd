// Typed access to the page's elements.

/** The element with this id, which must be of this kind.
 * @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} with id ${id}`);
  return found;
}

/** A new element with properties set and children appended.
 * @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {(Node | string)[]} children @returns {HTMLElementTagNameMap[K]} */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Show a state on a toggle button. @param {HTMLElement} button @param {boolean} on */
export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

/** Name the icon of a button. @param {HTMLElement} button @param {string} symbol */
export function setIcon(button, symbol) {
  button.querySelector("use")?.setAttribute("href", `#${symbol}`);
}

/** The server's WebSocket, beside this page. */
export function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
