"use strict";
// A cloud of points in a canvas: drag to turn, wheel or pinch to zoom, arrow keys and + - as well; no library
window.mmadlibCloud = (canvas, palette) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const heat = bytes(palette), pen = canvas.getContext("2d"), pointers = new Map();
  let points = null, given = null, colours = null, turn = 0.35, tilt = -0.55, zoom = 1, waiting = false, shade = null;

  function unpack(cloud) {
    const raw = new DataView(bytes(cloud.xyz).buffer), centre = [0, 0, 0];
    points = new Float32Array(cloud.n * 3);
    for (let i = 0; i < points.length; i++) {
      points[i] = raw.getUint16(2 * i, true) / 65535;
      centre[i % 3] += points[i] / cloud.n;
    }
    for (let i = 0; i < points.length; i++) points[i] -= centre[i % 3];
    shade = bytes(cloud.colours);
  }

  function paint(kind) {  // 0 picture, 1 relief, 2 map where it was looked at, else the relief
    colours = new Uint32Array(points.length / 3);
    for (let i = 0; i < colours.length; i++) {
      let [red, green, blue, grey, level] = shade.subarray(5 * i, 5 * i + 5);
      if (kind === 1 || kind === 2 && !level) red = green = blue = grey;
      else if (kind === 2) [red, green, blue] = heat.subarray(3 * Math.round((level - 1) / 254 * 255)).subarray(0, 3);
      colours[i] = 0xff000000 | blue << 16 | green << 8 | red;
    }
  }

  function draw() {
    waiting = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!points || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const depth = new Float32Array(width * height).fill(Infinity);
    pixels.fill(0xff7d7065);  // neither as dark as low values nor as light as high ones
    const [sa, ca, sb, cb] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)];
    const focus = Math.min(width, height) * 1.75 * zoom, far = 2.2;
    const size = Math.max(1, Math.ceil(focus / far / Math.sqrt(colours.length) * 1.25));
    for (let i = 0; i < colours.length; i++) {
      const x0 = points[3 * i], y0 = points[3 * i + 1], z0 = points[3 * i + 2];
      const x = ca * x0 + sa * z0, z1 = ca * z0 - sa * x0, y = cb * y0 + sb * z1, z = cb * z1 - sb * y0 + far;
      if (z < 0.1) continue;
      const left = Math.round(width / 2 + focus * x / z - size / 2), top = Math.round(height / 2 + focus * y / z - size / 2);
      for (let v = Math.max(top, 0); v < Math.min(top + size, height); v++) {
        for (let u = Math.max(left, 0); u < Math.min(left + size, width); u++) {
          const at = v * width + u;
          if (z < depth[at]) { depth[at] = z; pixels[at] = colours[i]; }
        }
      }
    }
    pen.putImageData(image, 0, 0);
  }

  const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };
  const turned = (right, down) => { turn -= right; tilt = Math.max(-1.57, Math.min(1.57, tilt + down)); later(); };
  const zoomed = (factor) => { zoom = Math.max(0.4, Math.min(8, zoom * factor)); later(); };
  const apart = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = pointers.get(event.pointerId), before = pointers.size === 2 ? apart() : 0;
    if (!from) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) turned((event.clientX - from[0]) * 0.008, (event.clientY - from[1]) * -0.008);
    if (pointers.size === 2 && before) zoomed(apart() / before);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomed(Math.exp(-event.deltaY * 0.0015)); },
    { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const act = { ArrowLeft: () => turned(-0.1, 0), ArrowRight: () => turned(0.1, 0), ArrowUp: () => turned(0, 0.1),
      ArrowDown: () => turned(0, -0.1), "+": () => zoomed(1.15), "-": () => zoomed(1 / 1.15) }[event.key];
    if (act) { event.preventDefault(); event.stopPropagation(); act(); }
  });
  addEventListener("resize", later);

  return { show(cloud, kind, label) {
    if (cloud !== given) { unpack(cloud); given = cloud; zoom = 1; turn = 0.35; tilt = -0.55; }
    paint(kind);
    canvas.setAttribute("aria-label", label);
    canvas.setAttribute("role", "img");
    later();
  } };
};
