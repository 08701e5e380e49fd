// A worker that ticks: the timers of a hidden page are held to one a second, a worker's are not.

/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

addEventListener("message", (event) => {
  clearInterval(timer);
  timer = event.data > 0 ? setInterval(() => postMessage(0), event.data) : undefined;
});
