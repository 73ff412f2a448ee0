"use strict";
// A 3-D view for self-contained pages: WebGL 2, orbiting camera, meshes, discs, ribbons. Metres; z is up.
// Matrices are column-major Float32Array(16). Colours are [red, green, blue] in [0, 1].

const decodeBytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;

const IDENTITY = new Float32Array([1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]);
const sub = (a, b) => a.map((x, i) => x - b[i]), dot = (a, b) => a.reduce((s, x, i) => s + x * b[i], 0);
const cross = (a, b) => [a[1]*b[2]-a[2]*b[1], a[2]*b[0]-a[0]*b[2], a[0]*b[1]-a[1]*b[0]];
const scaled = (a, k) => a.map(x => x * k), unit = a => scaled(a, 1 / Math.max(1e-12, Math.hypot(...a)));

// Pose from a position [m] and a quaternion (w, x, y, z).
function poseMatrix(x, y, z, qw, qx, qy, qz) {
  const n = 1 / Math.hypot(qw, qx, qy, qz); qw *= n; qx *= n; qy *= n; qz *= n;
  return new Float32Array([
    1-2*(qy*qy+qz*qz), 2*(qx*qy+qw*qz), 2*(qx*qz-qw*qy), 0, 2*(qx*qy-qw*qz), 1-2*(qx*qx+qz*qz), 2*(qy*qz+qw*qx), 0,
    2*(qx*qz+qw*qy), 2*(qy*qz-qw*qx), 1-2*(qx*qx+qy*qy), 0, x, y, z, 1]);
}

// Triangles of a primitive about its own origin: {vertices: [[x, y, z], ...], faces: [[a, b, c], ...]}.
function primitive(kind, size) {
  if (kind === "box") {
    const v = [0,1,2,3,4,5,6,7].map(i => [0,1,2].map(k => (i >> k & 1 ? 0.5 : -0.5) * size[k]));
    return {vertices: v, faces: [[0,2,1],[1,2,3],[4,5,6],[5,7,6],[0,1,4],[1,5,4],[2,6,3],[3,6,7],[0,4,2],[2,4,6],[1,3,5],[3,7,5]]};
  }
  const radius = size[0], half = (size[1] || 0) / 2, around = 14, outline = [];
  if (kind === "cylinder") outline.push([0, -half], [radius, -half], [radius, half], [0, half]);
  else for (const end of [-1, 1]) for (let k = 0; k <= 4; k++) {
    const a = (end < 0 ? 4 - k : k) * Math.PI / 8;
    outline.push([radius * Math.cos(a), end * (radius * Math.sin(a) + half)]);
  }
  const vertices = [], faces = [];
  for (const [r, z] of outline) for (let k = 0; k < around; k++) {
    const a = 2 * Math.PI * k / around;
    vertices.push([r * Math.cos(a), r * Math.sin(a), z]);
  }
  for (let ring = 0; ring + 1 < outline.length; ring++) for (let k = 0; k < around; k++) {
    const a = ring * around + k, b = ring * around + (k + 1) % around;
    faces.push([a, b, a + around], [b, b + around, a + around]);
  }
  return {vertices, faces};
}

class Scene3D {
  // onDraw(scene) is called for each picture; throws where there is no WebGL 2.
  constructor(canvas, {target = [0, 0, 0], distance = 1, azimuth = 0.7, elevation = 0.5, ground = 5, onDraw}) {
    Object.assign(this, {canvas, target: target.slice(), distance, azimuth, elevation, ground, onDraw});
    const gl = this.gl = canvas.getContext("webgl2", {antialias: true, alpha: false, preserveDrawingBuffer: true});
    if (!gl) throw new Error("This page needs WebGL 2.");
    this.solid = this.program(`#version 300 es
      in vec3 position; uniform mat4 model, view, projection; out vec3 place;
      void main() { vec4 p = view * model * vec4(position, 1.0); place = p.xyz; gl_Position = projection * p; }`,
      `#version 300 es
      precision highp float; in vec3 place; uniform vec3 colour; uniform float alpha, flatness; uniform vec3 light; out vec4 pixel;
      void main() {
        vec3 normal = normalize(cross(dFdx(place), dFdy(place)));
        float shade = 0.58 + 0.42 * max(dot(normal, light), 0.0);
        pixel = vec4(colour * mix(shade, 1.0, flatness), alpha);
      }`, ["model", "view", "projection", "colour", "alpha", "flatness", "light"]);
    this.disc = this.program(`#version 300 es
      in vec3 position; in vec4 colour; in float radius; uniform mat4 view, projection; uniform float pixels; out vec4 tint;
      void main() {
        gl_Position = projection * view * vec4(position, 1.0); tint = colour;
        gl_PointSize = max(1.5, radius * pixels / gl_Position.w);
      }`, `#version 300 es
      precision highp float; in vec4 tint; out vec4 pixel;
      void main() {
        float r = 2.0 * length(gl_PointCoord - 0.5);
        if (r > 1.0) discard;
        pixel = vec4(tint.rgb * (1.0 - 0.35 * r * r), tint.a);
      }`, ["view", "projection", "pixels"]);
    this.floor = this.mesh(new Float32Array([-ground,-ground,0, ground,-ground,0, ground,ground,0, -ground,ground,0]),
                           new Uint32Array([0,1,2, 0,2,3]));
    this.scratch = null;
    this.listen();
    new ResizeObserver(() => this.render()).observe(canvas);
  }
  program(vertex, fragment, uniforms) {
    const gl = this.gl, made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source); gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    return {made, at: Object.fromEntries(uniforms.map(name => [name, gl.getUniformLocation(made, name)])),
            attribute: name => gl.getAttribLocation(made, name)};
  }
  mesh(vertices, faces) {
    const gl = this.gl, array = gl.createVertexArray(); gl.bindVertexArray(array);
    const buffer = gl.createBuffer(), where = this.solid.attribute("position");
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, vertices, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(where); gl.vertexAttribPointer(where, 3, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    return {array, buffer, count: faces.length};
  }
  // Unlit `flat` surfaces keep their colour from every side.
  draw(shape, model, colour, alpha = 1, flat = false) {
    const gl = this.gl, at = this.solid.at;
    gl.useProgram(this.solid.made); gl.bindVertexArray(shape.array);
    gl.uniformMatrix4fv(at.model, false, model);
    gl.uniform3fv(at.colour, colour); gl.uniform1f(at.alpha, alpha); gl.uniform1f(at.flatness, flat ? 1 : 0);
    gl.drawElements(gl.TRIANGLES, shape.count, gl.UNSIGNED_INT, 0);
  }
  // Many meshes as one translucent body: only its front surface shows. parts: [[shape, model], ...].
  drawClear(parts, colour, alpha) {
    const gl = this.gl;
    gl.colorMask(false, false, false, false); for (const [shape, model] of parts) this.draw(shape, model, colour);
    gl.colorMask(true, true, true, true); gl.depthFunc(gl.LEQUAL);
    for (const [shape, model] of parts) this.draw(shape, model, colour, alpha);
    gl.depthFunc(gl.LESS);
  }
  // Round points: positions Float32Array(3n) [m], colours Float32Array(4n), radii Float32Array(n) [m].
  discs(positions, colours, radii) {
    const gl = this.gl, {made, at, attribute} = this.disc;
    gl.useProgram(made);
    this.discArray ??= {array: gl.createVertexArray(), buffers: [0,1,2].map(() => gl.createBuffer())};
    gl.bindVertexArray(this.discArray.array);
    [["position", positions, 3], ["colour", colours, 4], ["radius", radii, 1]].forEach(([name, values, width], k) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.discArray.buffers[k]); gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(attribute(name)); gl.vertexAttribPointer(attribute(name), width, gl.FLOAT, false, 0, 0);
    });
    gl.uniformMatrix4fv(at.view, false, this.viewMatrix); gl.uniformMatrix4fv(at.projection, false, this.projectionMatrix);
    gl.uniform1f(at.pixels, this.projectionMatrix[5] * this.canvas.height);
    gl.drawArrays(gl.POINTS, 0, radii.length);
  }
  // A line of some width [m] through points [[x, y, z], ...], turned towards the eye.
  ribbon(points, width, colour, alpha = 1) {
    const corners = [], faces = [];
    points.forEach((p, i) => {
      const along = unit(sub(points[Math.min(i + 1, points.length - 1)], points[Math.max(i - 1, 0)]));
      const side = scaled(unit(cross(along, sub(this.eye, p))), width / 2);
      corners.push(...sub(p, side), ...p.map((x, k) => x + side[k]));
      if (i) faces.push(2*i-2, 2*i-1, 2*i, 2*i-1, 2*i+1, 2*i);
    });
    this.once(new Float32Array(corners), new Uint32Array(faces), colour, alpha);
  }
  once(vertices, faces, colour, alpha) {
    const gl = this.gl;
    this.scratch ??= this.mesh(new Float32Array(3), new Uint32Array(3));
    gl.bindVertexArray(this.scratch.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.scratch.buffer); gl.bufferData(gl.ARRAY_BUFFER, vertices, gl.DYNAMIC_DRAW);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.DYNAMIC_DRAW);
    this.scratch.count = faces.length;
    this.draw(this.scratch, IDENTITY, colour, alpha, true);
  }
  render() {
    const {canvas, gl, distance, azimuth, elevation, target} = this, ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
    if (!canvas.width || !canvas.height) return;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.957, 0.961, 0.969, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST); gl.enable(gl.BLEND); gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const back = [Math.cos(azimuth)*Math.cos(elevation), Math.sin(azimuth)*Math.cos(elevation), Math.sin(elevation)];
    const eye = this.eye = target.map((t, i) => t + distance * back[i]);
    const right = unit(cross([0,0,1], back)), up = cross(back, right);
    this.viewMatrix = new Float32Array([right[0],up[0],back[0],0, right[1],up[1],back[1],0, right[2],up[2],back[2],0,
                                        -dot(right,eye),-dot(up,eye),-dot(back,eye),1]);
    const f = 1 / Math.tan(0.3), near = distance / 50, far = distance * 20 + this.ground;
    this.projectionMatrix = new Float32Array([f * canvas.height / canvas.width,0,0,0, 0,f,0,0,
                                              0,0,(far+near)/(near-far),-1, 0,0,2*far*near/(near-far),0]);
    gl.useProgram(this.solid.made);
    gl.uniformMatrix4fv(this.solid.at.view, false, this.viewMatrix);
    gl.uniformMatrix4fv(this.solid.at.projection, false, this.projectionMatrix);
    gl.uniform3fv(this.solid.at.light, unit([0.35, 0.55, 0.75]));
    this.draw(this.floor, IDENTITY, [0.90, 0.905, 0.90]);
    this.onDraw(this);
  }
  listen() {
    let drag = null;
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", e => { drag = e; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointerup", () => { drag = null; });
    canvas.addEventListener("pointermove", e => {
      if (!drag) return;
      const dx = e.clientX - drag.clientX, dy = e.clientY - drag.clientY;
      if (drag.buttons & 2 || drag.shiftKey) {
        const k = this.distance / canvas.clientHeight * 0.62, right = [-Math.sin(this.azimuth), Math.cos(this.azimuth), 0];
        this.target = this.target.map((t, i) => t - k * dx * right[i] + (i === 2 ? k * dy : 0));
      } else {
        this.azimuth -= 0.008 * dx; this.elevation = Math.min(1.55, Math.max(-1.2, this.elevation + 0.008 * dy));
      }
      drag = {clientX: e.clientX, clientY: e.clientY, buttons: drag.buttons, shiftKey: drag.shiftKey};
      this.render();
    });
    canvas.addEventListener("contextmenu", e => e.preventDefault());
    canvas.addEventListener("wheel", e => { e.preventDefault(); this.distance *= Math.exp(0.001 * e.deltaY); this.render(); }, {passive: false});
  }
}
