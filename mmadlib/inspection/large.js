"use strict";
// The large view of one part: picture, relief, map and cloud of the same window, regions outlined and listed
window.mmadlibLarge = ({ data, parts, cards, verdict, label, show, svg }) => {
  const $ = (id) => document.getElementById(id);
  const dialog = $("large"), views = document.querySelector(".views"), names = ["Picture", "Relief", "Map"];
  const space = window.mmadlibCloud ? window.mmadlibCloud($("space"), data.palette) : null;
  let current = -1, view = 0, outlines = true;

  const buttons = names.concat(space ? ["3D"] : []).map((name, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => { view = i; draw(); });
    views.append(button);
    return button;
  });
  const colours = document.createElement("button"), lines = document.createElement("button");
  let colour = 2;
  for (const [button, act] of [[colours, () => { colour = (colour + 1) % 3; }], [lines, () => { outlines = !outlines; }]]) {
    button.type = "button";
    button.addEventListener("click", () => { act(); draw(); });
    views.append(button);
  }
  lines.className = "rings";
  lines.textContent = "Outlines";

  // The colour scale of all maps, the pixel threshold marked where the ends leave room for it
  const [low, high, mark] = data.scale;
  for (const [value, at, kind] of [[low, 0, ""], [high, 1, ""], [mark, (mark - low) / (high - low), "at"]]) {
    if (value === null) continue;
    const text = document.createElement("span");
    text.textContent = (kind ? "outlined above " : "") + show(value);
    text.className = kind;
    text.style.left = `${100 * at}%`;
    $("legend").append(text);
  }

  // The parts that the filters leave, in the order of the page
  const around = (step) => {
    for (let i = current + step; i >= 0 && i < parts.length; i += step) if (!cards[i].hidden) return i;
    return -1;
  };

  function draw() {
    const p = parts[current], deep = view === 3 && p.cloud;
    const at = deep ? 3 : Math.min(view, 2);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === at)));
    if (space) buttons[3].hidden = !p.cloud;
    colours.hidden = !deep;
    colours.textContent = "Colour: " + names[colour].toLowerCase();
    lines.hidden = deep || !p.regions.length;
    lines.setAttribute("aria-pressed", String(outlines));
    $("image").hidden = $("rings").hidden = Boolean(deep);
    $("legend").hidden = deep ? colour !== 2 : at !== 2;
    $("space").hidden = !deep;
    $("rings").style.visibility = outlines ? "" : "hidden";
    $("image").src = p.pictures[at % 3];
    $("image").alt = `${names[at % 3]} of ${p.name}`;
    if (deep) space.show(p.cloud, colour, `Cloud of ${p.name}: drag or arrow keys turn it, wheel or + and - zoom`);
  }

  function regions(p) {
    const rings = $("rings"), body = $("large-regions").tBodies[0];
    rings.setAttribute("viewBox", `0 0 ${p.size[0]} ${p.size[1]}`);
    rings.replaceChildren(...p.regions.map((r) => svg("path", { class: "casing", d: r.path })));
    $("large-regions").hidden = !p.regions.length;
    const total = p.regions.length + p.more;
    $("large-regions").caption.textContent = `${total} region${total === 1 ? "" : "s"}` +
      (p.more ? `, the highest ${p.regions.length} listed` : "");
    body.replaceChildren(...p.regions.map((r, i) => {
      const ring = svg("path", { class: "ring", d: r.path }), row = document.createElement("tr");
      for (const text of [i + 1, r.area, r.peak, r.at.join(", "), r.speaks || "–"]) {
        row.insertCell().textContent = text;
      }
      const light = (on) => { ring.classList.toggle("on", on); row.classList.toggle("on", on); };
      row.tabIndex = 0;
      for (const [event, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) {
        row.addEventListener(event, () => light(on));
      }
      rings.append(ring);
      return row;
    }));
  }

  function open(i) {
    if (i < 0) return;
    current = i;
    const p = parts[i], kind = verdict(p), shown = cards.map((card, k) => card.hidden ? -1 : k).filter((k) => k >= 0);
    dialog.dataset.verdict = kind;
    $("large-badge").textContent = label(kind);
    $("large-name").textContent = $("large-name").title = p.name;
    $("place").textContent = `${shown.indexOf(i) + 1} / ${shown.length}`;
    $("before").disabled = around(-1) < 0;
    $("after").disabled = around(1) < 0;
    const small = document.createElement("small");
    small.textContent = p.p === null ? "" : `  p ${p.p.toFixed(3)}`;
    $("large-numbers").replaceChildren(p.score === null ? "not scored" : `Score ${show(p.score)}`, small);
    $("large-reason").textContent = kind === p.verdict || p.holed ? p.reason :
      `The ${data.ranking ? "cut" : "threshold"} was moved by hand.`;
    $("large-warnings").replaceChildren(...p.warnings.map((text) => {
      const line = document.createElement("li");
      line.textContent = text;
      return line;
    }));
    regions(p);
    draw();
    if (!dialog.open) dialog.showModal();
  }

  $("before").addEventListener("click", () => open(around(-1)));
  $("after").addEventListener("click", () => open(around(1)));
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (!cards[current].hidden) cards[current].firstElementChild.focus(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target === $("space") && event.key.startsWith("Arrow")) return;
    const act = { ArrowLeft: () => open(around(-1)), ArrowRight: () => open(around(1)),
      o: () => { outlines = !outlines; draw(); },
      1: () => { view = 0; draw(); }, 2: () => { view = 1; draw(); }, 3: () => { view = 2; draw(); },
      4: () => { view = 3; draw(); } }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  return open;
};
