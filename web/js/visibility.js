// Whether anybody sees the page. OBS tells a browser source in two ways when it leaves the program; a browser has its own.

/** @param {(visible: boolean) => void} tell called now, and whenever something changes */
export function watchVisibility(tell) {
  let onAir = true;
  const changed = () => tell(onAir && document.visibilityState !== "hidden");
  const obs = (/** @type {boolean} */ visible) => {
    onAir = visible;
    changed();
  };
  const { obsstudio } = /** @type {{obsstudio?: {onVisibilityChange?: (visible: boolean) => void}}} */ (globalThis);
  if (obsstudio) obsstudio.onVisibilityChange = obs;
  addEventListener("obsSourceVisibleChanged", (event) => {
    obs(/** @type {CustomEvent<{visible: boolean}>} */ (event).detail.visible);
  });
  document.addEventListener("visibilitychange", changed);
  changed();
}
