// Requests to the server beside the stream.

/** The JSON that the server answers with. Throws what it refuses with, as its own message says it.
 * @param {string} path below /api/v1/ @param {{token?: string, method?: string, body?: object}} [request]
 * @returns {Promise<any>} */
export async function ask(path, { token, method = "GET", body } = {}) {
  /** @type {Record<string, string>} */
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const url = new URL(`api/v1/${path}`, document.baseURI);
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.message ?? `the server answered ${response.status} for ${path}`);
  return answer;
}
