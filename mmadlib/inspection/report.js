"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const parts = data.parts, cards = [...document.querySelectorAll(".card")], counts = [...document.querySelectorAll(".count")];
  const scored = parts.filter((p) => p.score !== null);
  const show = (x) => String(Number(x.toPrecision(4)));
  const svg = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  let filter = "", words = "", threshold = data.threshold, moved = false;

  // Verdicts as given while the threshold is untouched: a part may be bad for more than its score
  const verdict = (p) => p.score === null || !moved ? p.verdict : p.holed || p.score > threshold ? "bad" : "good";
  const label = (kind) => data.signs[kind] + " " + data.words[kind];

  // The slider: 1000 steps from below the lowest to above the highest score, and every part as a dot above it
  const scores = scored.map((p) => p.score).concat(data.threshold === null ? [] : [data.threshold]);
  const lowest = Math.min(...scores), highest = Math.max(...scores), margin = (highest - lowest) * 0.03 || 1;
  const low = lowest - margin, span = highest - lowest + 2 * margin;
  const slider = $("threshold"), strip = $("strip"), dots = new Map();
  const home = data.threshold === null ? 0 : Math.round((data.threshold - low) / span * 1000);

  function drawStrip() {
    const width = strip.clientWidth || 600, half = 8;  // half a thumb of the slider: dots and thumb agree
    const x = (score) => half + (score - low) / span * (width - 2 * half);
    strip.setAttribute("viewBox", `0 0 ${width} 64`);
    strip.replaceChildren(svg("line", { class: "axis", x1: 0, x2: width, y1: 62, y2: 62 }));
    dots.clear();
    const top = new Map();  // dots that would overlap stand on each other
    for (const p of scored) {
      const column = Math.round(x(p.score) / 9), level = top.get(column) || 0;
      top.set(column, level + 1);
      const dot = svg("circle", { cx: x(p.score), cy: 55 - level % 6 * 9, r: 4.5, class: verdict(p) });
      dot.append(svg("title", {}));
      dot.firstChild.textContent = `${p.name}: ${show(p.score)}`;
      dot.addEventListener("click", () => open(parts.indexOf(p)));
      dots.set(p, dot);
      strip.append(dot);
    }
    if (threshold === null) return;
    const mark = (at, kind) => svg("line", { class: kind, x1: x(at), x2: x(at), y1: 2, y2: 64 });
    if (moved) strip.append(mark(data.threshold, "fixed"));
    strip.append(mark(threshold, "now"));
  }

  function said() {
    if (data.ranking) {
      return (moved ? "Moved by hand. " : "The cut lies in the largest gap of the upper half of the scores. ") +
        "This is a ranking: no good parts were given, so nothing is promised.";
    }
    if (!moved) {
      return data.promised === null ? "" : `As calibrated on ${data.good_parts} good part${data.good_parts === 1 ? "" : "s"}.`;
    }
    const most = Math.max(...scored.filter((p) => p.score > threshold && p.p !== null).map((p) => p.p));
    return "Moved by hand: the rate of false alarms is no longer promised." +
      (most > 0 ? ` Parts called bad here have p-values up to ${show(most)}.` : "");
  }

  function update() {
    const number = { bad: 0, good: 0, "not comparable": 0 };
    let visible = 0;
    parts.forEach((p, i) => {
      const kind = verdict(p), card = cards[i], badge = card.querySelector(".badge");
      number[kind] += 1;
      card.dataset.verdict = kind;
      badge.textContent = label(kind);
      card.hidden = !((!filter || kind === filter) && p.name.toLowerCase().includes(words));
      visible += !card.hidden;
      if (dots.has(p)) dots.get(p).setAttribute("class", kind);
    });
    for (const button of counts) {
      if (button.dataset.filter) button.querySelector("b").textContent = number[button.dataset.filter];
      button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
    }
    $("shown").textContent = visible === parts.length ? "" : `${visible} of ${parts.length} shown.`;
    $("value").textContent = threshold === null ? "" : show(threshold);
    $("moved").textContent = said();
    $("moved").classList.toggle("free", moved);
    $("promise").classList.toggle("free", moved && !data.ranking);
    $("reset").hidden = !moved;
    slider.setAttribute("aria-valuetext",
      threshold === null ? "none" : `${show(threshold)}: ${number.bad} ${data.words.bad}, ${number.good} ${data.words.good}`);
    drawStrip();
  }

  function move(place) {
    moved = place !== home;
    threshold = moved ? low + span * place / 1000 : data.threshold;
    update();
  }

  slider.value = home;
  slider.addEventListener("input", () => move(Number(slider.value)));
  $("reset").addEventListener("click", () => { slider.value = home; move(home); slider.focus(); });
  if (data.ranking) $("reset").textContent = "Back to the gap";
  $("controls").hidden = !scored.length || data.threshold === null;
  for (const button of counts) {
    button.addEventListener("click", () => { filter = button.dataset.filter; update(); });
  }
  $("find").addEventListener("input", () => { words = $("find").value.trim().toLowerCase(); update(); });
  addEventListener("resize", drawStrip);
  cards.forEach((card, i) => card.firstElementChild.addEventListener("click", () => open(i)));
  const open = window.mmadlibLarge({ data, parts, cards, verdict, label, show, svg });
  update();
})();
