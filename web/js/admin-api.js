// What an operator asks of the server, over HTTP.

/** @typedef {{width: number, height: number, steps: number, max_fps: number}} Given */
/** A session, as `GET /api/v1/sessions` lists it.
 * @typedef {{name: string, age_s: number, publisher: boolean, viewers: number, device: string | null,
 *   format: {width: number, height: number, upscale: number}, settings: Record<string, unknown>, given: Given | null,
 *   received_fps: number, computed_fps: number, drops: Record<string, number>,
 *   stages: Record<string, {p50: number, p90: number}>}} Listed */
/** @typedef {{sessions: Listed[], limit: number, queue: number}} Listing */

/** The server's answer was an error, or there was none; `status` is 0 then. */
export class AdminError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class AdminApi {
  #base;
  #token;
  #fetch;

  /** @param {string | URL} base the server's address @param {string | undefined} token
   * @param {typeof globalThis.fetch} [fetch] */
  constructor(base, token, fetch = globalThis.fetch.bind(globalThis)) {
    this.#base = base;
    this.#token = token;
    this.#fetch = fetch;
  }

  /** Every session. @param {boolean} prompts also what people wrote @returns {Promise<Listing>} */
  async list(prompts) {
    return (await this.#ask("GET", prompts ? "?prompts=1" : "")).json();
  }

  /** A session's newest picture in small; null before there is one, and when the session has ended.
   * @param {string} name @returns {Promise<Blob | null>} */
  async snapshot(name) {
    try {
      return await (await this.#ask("GET", `/${encodeURIComponent(name)}/snapshot`)).blob();
    } catch (error) {
      if (error instanceof AdminError && error.status === 404) return null;
      throw error;
    }
  }

  /** End a session for everybody in it. @param {string} name */
  async end(name) {
    await this.#ask("DELETE", `/${encodeURIComponent(name)}`);
  }

  /** @param {string} method @param {string} path @returns {Promise<Response>} */
  async #ask(method, path) {
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : undefined;
    const url = new URL(`api/v1/sessions${path}`, this.#base);
    let answer;
    try {
      answer = await this.#fetch(url, { method, headers, cache: "no-store" });
    } catch {
      throw new AdminError(0, "the server cannot be reached");
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw new AdminError(answer.status, said.message ?? `the server answered ${answer.status}`);
  }
}
