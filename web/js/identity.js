// The name of this tab's session: kept, so that an OBS URL outlives a reload, and never shared by two tabs.

const NAME = "streamgen.session";
const TOKEN = "streamgen.resume";
const LOCK_WAIT_MS = 400;

/** `token` is the newest one that was remembered.
 * @typedef {{name: string, token: string | undefined, remember: (token: string | null) => void}} Identity */

/** This tab's session name, with the token to take it over if it still runs.
 * A name belongs to the tab that holds its lock; a second tab gets, and keeps, one of its own.
 * @param {boolean} [fresh] the kept name turned out to be taken: make another
 * @returns {Promise<Identity>} */
export async function identify(fresh = false) {
  const own = sessionStorage.getItem(NAME);
  const shared = localStorage.getItem(NAME);
  for (const name of fresh ? [] : [own, shared]) {
    if (name && (await lock(name))) return identity(name, name === own ? sessionStorage : localStorage);
  }
  const name = newName();
  await lock(name);
  const storage = shared && !(fresh && !own) ? sessionStorage : localStorage;
  storage.setItem(NAME, name);
  storage.removeItem(TOKEN);
  return identity(name, storage);
}

/** @param {string} name @param {Storage} storage @returns {Identity} */
function identity(name, storage) {
  /** @type {Identity} */
  const made = {
    name,
    token: storage.getItem(TOKEN) ?? undefined,
    remember: (token) => {
      made.token = token ?? undefined;
      if (token) storage.setItem(TOKEN, token);
      else storage.removeItem(TOKEN);
    },
  };
  return made;
}

function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Hold `name` until this tab goes; false when another tab does. Pages without locks rely on the server's refusal.
 * @param {string} name @returns {Promise<boolean>} */
function lock(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = () => {
      resolve(true);
      return new Promise(() => {});
    };
    // A reload frees the lock of the page before it a moment later: wait for that, but not for another tab.
    const signal = AbortSignal.timeout(LOCK_WAIT_MS);
    navigator.locks.request(`streamgen:${name}`, { signal }, held).catch(() => resolve(false));
  });
}

/** The page for OBS that shows this session. @param {string} name @param {string} [token] of the server */
export function overlayUrl(name, token) {
  const url = new URL("overlay.html", document.baseURI);
  url.hash = String(new URLSearchParams({ session: name, ...(token ? { token } : {}) }));
  return url.href;
}
