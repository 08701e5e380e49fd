// A worker that encodes: on a page's own thread the browser puts encoding off until it is idle, and a page in the
// background is idle once a second.

/** @type {OffscreenCanvas | undefined} */
let canvas;

/** @param {ImageData} image @param {number} quality */
async function encode(image, quality) {
  if (canvas?.width !== image.width || canvas.height !== image.height) {
    canvas = new OffscreenCanvas(image.width, image.height);
  }
  canvas.getContext("2d", { willReadFrequently: true })?.putImageData(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
  return blob.arrayBuffer();
}

addEventListener("message", async ({ data: { image, quality } }) => {
  try {
    const jpeg = await encode(image, quality);
    postMessage(jpeg, { transfer: [jpeg] });
  } catch (error) {
    postMessage(String(error)); // the edge of this worker: the page has to hear of it
  }
});
