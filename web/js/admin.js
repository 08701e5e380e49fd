// The operator's page: every live session, refreshed every two seconds. The token stands in the fragment.

import { AdminApi, AdminError } from "./admin-api.js";
import { COLUMNS, fullness, reasons, reduced } from "./admin-rows.js";
import { byId, make } from "./dom.js";

/** @import {Listed, Listing} from "./admin-api.js" */

const REFRESH_MS = 2000;

const rows = byId("rows", HTMLElement);
const thumbnails = byId("thumbnails", HTMLInputElement);
const prompts = byId("prompts", HTMLInputElement);

/** One session's line. Call `close` when the session is gone. */
class Row {
  #cells = Object.fromEntries(Object.keys(COLUMNS).map((column) => [column, make("td", { className: column })]));
  #thumb = make("td", { className: "thumb-cell", hidden: true });
  #end = make("button", { className: "button", type: "button", textContent: "End session" });
  #url = "";
  #asked = false;

  /** @param {AdminApi} api @param {string} name @param {() => void} refresh shows how it is now */
  constructor(api, name, refresh) {
    this.element = make("tr", {}, this.#thumb, ...Object.values(this.#cells), make("td", {}, this.#end));
    this.element.dataset.session = name;
    this.#end.setAttribute("aria-label", `End session ${name}`);
    this.#end.addEventListener("click", async () => {
      if (!confirm(`End the session ${name} for everybody in it?`)) return;
      this.#end.disabled = true;
      await api.end(name).catch(failed);
      this.#end.disabled = false;
      refresh();
    });
  }

  /** @param {Listed} session */
  show(session) {
    for (const [column, text] of Object.entries(COLUMNS)) this.#cells[column].textContent = text(session);
    const less = reduced(session);
    this.#cells.size.classList.toggle("given", less !== "");
    this.#cells.size.title = less;
    this.#cells.drops.title = reasons(session);
  }

  /** One picture, asked for once, or none. @param {AdminApi} api @param {boolean} wanted */
  async picture(api, wanted) {
    this.#thumb.hidden = !wanted;
    if (!wanted) {
      this.#asked = false;
      this.#clear();
    } else if (!this.#asked) {
      this.#asked = true;
      const blob = await api.snapshot(this.element.dataset.session ?? "");
      if (!this.#asked) return; // switched off meanwhile
      this.#asked = blob !== null;
      if (blob) {
        this.#url = URL.createObjectURL(blob);
        this.#thumb.replaceChildren(make("img", { src: this.#url, alt: "What the session showed a moment ago" }));
      }
    }
  }

  close() {
    this.#asked = false;
    this.#clear();
    this.element.remove();
  }

  #clear() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
    this.#thumb.replaceChildren();
  }
}

class Table {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #asking = 0;
  #timer = 0;

  /** @param {AdminApi} api */
  constructor(api) {
    this.api = api;
  }

  /** Ask and show, now and every two seconds from now on; an older answer that is under way is not shown. */
  async refresh() {
    clearTimeout(this.#timer);
    const asking = ++this.#asking;
    try {
      const listing = await this.api.list(prompts.checked);
      if (asking === this.#asking) await this.#show(listing);
    } catch (error) {
      if (asking === this.#asking) failed(error);
    }
    if (asking === this.#asking) this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  /** @param {Listing} listing */
  async #show(listing) {
    say("open", fullness(listing));
    byId("empty", HTMLElement).hidden = listing.sessions.length > 0;
    for (const column of document.querySelectorAll("th.thumb-cell")) column.toggleAttribute("hidden", !thumbnails.checked);
    const present = new Set(listing.sessions.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (present.has(name)) continue;
      row.close();
      this.#rows.delete(name);
    }
    for (const session of listing.sessions) this.#row(session.name).show(session);
    await Promise.all([...this.#rows.values()].map((row) => row.picture(this.api, thumbnails.checked)));
  }

  /** @param {string} name @returns {Row} */
  #row(name) {
    let row = this.#rows.get(name);
    if (!row) {
      row = new Row(this.api, name, () => this.refresh());
      this.#rows.set(name, row);
      rows.append(row.element);
    }
    return row;
  }
}

/** @param {"open" | "reconnecting" | "closed"} state @param {string} text */
function say(state, text) {
  byId("state", HTMLElement).dataset.state = state;
  byId("state-text", HTMLElement).textContent = text;
}

/** @param {unknown} error */
function failed(error) {
  if (!(error instanceof AdminError)) throw error;
  const state = error.status === 0 ? "reconnecting" : "closed";
  say(state, error.status === 401 ? "Open this page with #token=TOKEN" : error.message);
}

function begin() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
  return new Table(new AdminApi(document.baseURI, token));
}

const table = begin();
table.refresh();
for (const control of [thumbnails, prompts]) control.addEventListener("change", () => table.refresh());
addEventListener("hashchange", () => location.reload());
