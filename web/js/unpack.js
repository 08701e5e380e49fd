// Paints pictures into a canvas with premultiplied alpha, unpacking it where it is packed beside the colour.

/** @import {Picture} from "./picture.js" */
/** @typedef {HTMLCanvasElement | OffscreenCanvas} Canvas */
/** @template {Canvas} T @typedef {{canvas: T, paint: (picture: Picture) => void}} Unpacker */

/** Of red, green and blue. Where the colour meets the alpha beside it decoders mix the chroma of both, which codecs keep
 * at half the resolution: so the alpha is what is light, and the last column has the chroma of the one before it. */
const LUMA = Object.freeze([0.299, 0.587, 0.114]);

/** Of 255. A codec's ripples beside an edge: alpha this near to none or to all is that. */
const RIPPLE = 16;

const OPTIONS = Object.freeze({
  alpha: true,
  premultipliedAlpha: true,
  preserveDrawingBuffer: true, // the canvas can be looked at between two pictures
  antialias: false,
  depth: false,
  stencil: false,
});

/** Paints into `canvas`, which takes the size of each picture and must be used for nothing else. With the GPU where
 * there is WebGL, and without where there is none, which takes a few milliseconds a picture.
 * @template {Canvas} T @param {T} canvas @returns {Unpacker<T>} */
export function unpacker(canvas) {
  const gl = /** @type {WebGLRenderingContext | null} */ (canvas.getContext("webgl", OPTIONS));
  return gl ? new GpuUnpacker(canvas, gl) : new CpuUnpacker(canvas);
}

const VERTICES = `
attribute vec2 corner;
varying vec2 at;
void main() {
  at = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENTS = `
precision highp float;
uniform sampler2D picture;
uniform bool has_alpha;
uniform float last_chroma;
varying vec2 at;
void main() {
  if (!has_alpha) {
    gl_FragColor = vec4(texture2D(picture, at).rgb, 1.0);
    return;
  }
  const float ripple = ${RIPPLE}.0 / 255.0;
  const vec3 luma = vec3(${LUMA.join()});
  float grey = dot(texture2D(picture, vec2(0.5 + 0.5 * at.x, at.y)).rgb, luma);
  float alpha = clamp((grey - ripple) / (1.0 - 2.0 * ripple), 0.0, 1.0);
  vec3 colour = texture2D(picture, vec2(0.5 * at.x, at.y)).rgb;
  vec3 inside = texture2D(picture, vec2(min(0.5 * at.x, last_chroma), at.y)).rgb;
  gl_FragColor = vec4((inside + dot(colour - inside, luma)) * alpha, alpha);
}`;

/** One triangle over the whole canvas. */
const CORNERS = new Float32Array([0, 0, 2, 0, 0, 2]);

/** @template {Canvas} T @implements {Unpacker<T>} */
class GpuUnpacker {
  /** @type {WebGLUniformLocation | null} */ #hasAlpha = null;
  /** @type {WebGLUniformLocation | null} */ #lastChroma = null;

  /** @param {T} canvas @param {WebGLRenderingContext} gl */
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault()); // or it would never come back
    canvas.addEventListener("webglcontextrestored", () => this.#build());
    this.#build();
  }

  /** While the context is lost this does nothing. @param {Picture} picture */
  paint({ source, width, height, packed }) {
    const { canvas, gl } = this;
    fit(canvas, width, height);
    gl.viewport(0, 0, width, height);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
    gl.uniform1i(this.#hasAlpha, Number(packed));
    gl.uniform1f(this.#lastChroma, (width - 1.5) / (2 * width));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #build() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, text] of /** @type {[number, string][]} */ ([
      [gl.VERTEX_SHADER, VERTICES],
      [gl.FRAGMENT_SHADER, FRAGMENTS],
    ])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(type));
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "corner");
    gl.linkProgram(program);
    gl.useProgram(program);
    this.#hasAlpha = gl.getUniformLocation(program, "has_alpha");
    this.#lastChroma = gl.getUniformLocation(program, "last_chroma");
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    // Pixel for pixel: nothing of the colour may reach the alpha beside it.
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE); // the only one for sizes that are no powers of two
    }
  }
}

/** @template {Canvas} T @implements {Unpacker<T>} */
class CpuUnpacker {
  #scratch = new OffscreenCanvas(1, 1);
  #reader = flat(this.#scratch, { willReadFrequently: true });

  /** @param {T} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = flat(canvas);
  }

  /** @param {Picture} picture */
  paint({ source, width, height, packed }) {
    fit(this.canvas, width, height);
    if (!packed) return this.context.drawImage(source, 0, 0, width, height);
    fit(this.#scratch, 2 * width, height);
    this.#reader.drawImage(source, 0, 0);
    const colours = this.#reader.getImageData(0, 0, width, height);
    unpackAlpha(colours.data, this.#reader.getImageData(width, 0, width, height).data, width);
    this.context.putImageData(colours, 0, 0);
  }
}

/** Set the alpha of `colours` to how light `alphas` are, less the codec's ripples. Both are RGBA.
 * @param {Uint8ClampedArray} colours @param {Uint8ClampedArray} alphas @param {number} width in pixels */
export function unpackAlpha(colours, alphas, width) {
  const steeper = 255 / (255 - 2 * RIPPLE);
  for (let at = 0; at < colours.length; at += 4) colours[at + 3] = (luma(alphas, at) - RIPPLE) * steeper;
  for (let end = 4 * width - 4; end < colours.length; end += 4 * width) {
    const lighter = luma(colours, end) - luma(colours, end - 4);
    for (let at = end; at < end + 3; at++) colours[at] = colours[at - 4] + lighter;
  }
}

/** @param {Uint8ClampedArray} pixels @param {number} at */
const luma = (pixels, at) => LUMA[0] * pixels[at] + LUMA[1] * pixels[at + 1] + LUMA[2] * pixels[at + 2];

/** Resizing a canvas clears it, even to the same size. @param {Canvas} canvas @param {number} width
 * @param {number} height */
function fit(canvas, width, height) {
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}

/** @param {Canvas} canvas @param {CanvasRenderingContext2DSettings} [options] */
function flat(canvas, options) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", options));
}
