/* One renderer for every chart of reporting/charts.py. It places what it is given and computes no figure. */
const DASHES = ["", "6 3", "2 3", "9 3 2 3"];
const HEIGHTS = {small: 150, medium: 170, large: 205};
const TICK_LETTER = 6.4; // width of a letter of a label, in pixels

/* A chart by its name; of one run alone where `run` is a place. Null where nothing of it is shown. */
function chart(name, run) {
  const spec = DATA.charts[name];
  const of = (panel) => run === undefined || panel.run === undefined || panel.run === run;
  const panels = spec.panels
    .filter((panel) => of(panel) && isShown(panel.run))
    .map((panel) => ({...panel, series: panel.series.filter((one) => isShown(one.run))}))
    .filter((panel) => panel.series.length);
  if (!panels.length) return null;
  const figures = panels.map((panel) => {
    const host = h("div", {});
    const label = spec.title + (panel.title && panel.title !== spec.title ? ", " + panel.title : "");
    host.draw = (width) => host.replaceChildren(plot(panel, label, Math.max(width, 160), HEIGHTS[spec.size]));
    watcher.observe(host);
    const title = (run === undefined && several && panel.run !== undefined ? `${RUNS[panel.run].name}: ` : "") + panel.title;
    const caption = h("figcaption", {}, h("b", {}, title), h("span", {}, panel.beside));
    return h("figure", {class: "panel"}, panel.title || panel.beside ? caption : null, host);
  });
  return h("div", {class: "chart-group"}, legend(panels), h("div", {class: "panels " + spec.size}, figures));
}

/* What tells series apart, where a panel has more than one. */
function legend(panels) {
  if (panels.every((panel) => panel.series.length < 2)) return null;
  const named = new Map(panels.flatMap((panel) => panel.series.map((one) => [one.name, one])));
  const sign = (one) => {
    if (one.kind === "bars") return swatch(one.colour);
    const line = {x1: 0, x2: 20, y1: 6, y2: 6, style: `stroke:${color(one.colour)}`, "stroke-width": 2};
    const mark = one.kind === "marker" ? diamond(10, 6, one) : null;
    return s(
      "svg",
      {width: 20, height: 12, "aria-hidden": "true"},
      s("line", {...line, "stroke-dasharray": DASHES[one.dash]}),
      mark
    );
  };
  const items = [...named.values()].map((one) => h("li", {}, sign(one), one.name));
  return h("ul", {class: "legend"}, items);
}
const diamond = (x, y, one) =>
  s("path", {
    d: `M${x},${y - 5}l5,5l-5,5l-5,-5Z`,
    style: `stroke:${color(one.colour)};fill:${one.hollow ? "var(--panel)" : color(one.colour)}`,
    "stroke-width": 1.5,
  });

/* Pixels of a value on an axis that runs from one pixel to another. */
function scale(axis, from, to) {
  const at = axis.log2 ? Math.log2 : (value) => value;
  return (value) => from + ((to - from) * (at(value) - at(axis.low))) / (at(axis.high) - at(axis.low));
}

function plot(panel, label, width, height) {
  const flipped = Boolean(panel.x.categories); // a list from the top down, values to the right
  const [across, upright] = flipped ? [panel.y, panel.x] : [panel.x, panel.y];
  if (flipped) height = 30 + panel.x.ticks.length * Math.max(34, 14 * panel.series.length);
  const left = 12 + TICK_LETTER * Math.max(...upright.ticks.map(([, text]) => text.length)),
    right = width - 8,
    [top, bottom] = [8, height - 22];
  const X = scale(across, left, right),
    Y = flipped ? scale(upright, top, bottom) : scale(upright, bottom, top);
  const place = flipped ? (x, value) => [X(value), Y(x)] : (x, value) => [X(x), Y(value)];
  const text = (x, value) => place(x, value).map((pixel) => pixel.toFixed(1)).join();
  const svg = s("svg", {
    class: "chart",
    width,
    height,
    role: "img",
    tabindex: 0,
    "aria-label": `${label}. Arrow keys read the values.`,
  });
  const line = (attributes, [x1, y1], [x2, y2]) => svg.append(s("line", {...attributes, x1, y1, x2, y2}));

  for (const [value] of panel.y.ticks)
    line({class: value === 0 ? "axis" : "grid"}, place(panel.x.low, value), place(panel.x.high, value));
  for (const [value, name] of upright.ticks)
    svg.append(s("text", {x: left - 6, y: Y(value) + 4, "text-anchor": "end"}, name));
  let free = 0; // where the text of the last tick ends: the next one would be written over it
  for (const [value, name] of across.ticks) {
    const first = value === across.low;
    const anchor = first ? "start" : X(value) > width - 26 ? "end" : "middle";
    const shown = first && !flipped ? `${across.label} ${name}` : name;
    const broad = TICK_LETTER * shown.length;
    const begin = X(value) - {start: 0, middle: broad / 2, end: broad}[anchor];
    if (begin < free) continue;
    free = begin + broad + 4;
    svg.append(s("text", {x: X(value), y: height - 6, "text-anchor": anchor}, shown));
  }

  const base = new Map(); // how high the bars at x are piled up
  const draw = {
    bars(one) {
      one.points.forEach(([x, value], i) => {
        const from = X(i ? one.points[i - 1][0] : panel.x.low),
          gap = X(x) - from > 5 ? 1 : 0,
          below = base.get(x) || 0;
        base.set(x, below + value);
        const box = {x: from + gap / 2, width: Math.max(0.6, X(x) - from - gap), y: Y(below + value)};
        const tall = Math.max(0, Y(below) - Y(below + value) - (gap ? 0.6 : 0));
        svg.append(s("rect", {...box, height: tall, style: `fill:${color(one.colour)}`}));
      });
    },
    marker(one) {
      for (const [x, value, , low, high] of one.points) {
        line({style: `stroke:${color(one.colour)}`, "stroke-width": 1.4}, place(x, low), place(x, high));
        svg.append(diamond(...place(x, value), one));
      }
    },
    line(one) {
      const banded = one.points.filter(([, , , low]) => low !== undefined);
      if (banded.length > 1) {
        const edge = [...banded.map((p) => text(p[0], p[4])), ...banded.reverse().map((p) => text(p[0], p[3]))];
        svg.append(s("path", {d: `M${edge.join("L")}Z`, style: `fill:${color(one.colour)}`, opacity: 0.15}));
      } else
        for (const [x, , , low, high] of banded)
          line({style: `stroke:${color(one.colour)}`, opacity: 0.4}, place(x, low), place(x, high));
      const corners = one.points.map(([x, value], i) =>
        i && one.kind === "step" ? `${text(x, one.points[i - 1][1])}L${text(x, value)}` : text(x, value)
      );
      const stroke = {"stroke-width": 1.9, "stroke-linejoin": "round", "stroke-linecap": "round"};
      if (one.points.length > 1)
        svg.append(
          s("path", {
            d: `M${corners.join("L")}`,
            fill: "none",
            style: `stroke:${color(one.colour)}`,
            ...stroke,
            "stroke-dasharray": DASHES[one.dash] || null,
          })
        );
      if (one.kind === "dots" || one.points.length === 1 || (one.kind === "line" && one.points.length <= 16))
        for (const [x, value] of one.points) {
          const [cx, cy] = place(x, value);
          svg.append(s("circle", {cx, cy, r: 2.3, style: `fill:${color(one.colour)}`}));
        }
    },
  };
  for (const one of panel.series) (draw[one.kind] || draw.line)(one);
  return readable(svg, panel, flipped ? Y : X, {left, right, top, bottom}, flipped);
}

/* Reading out by mouse and by keyboard: all values at one x, or in one category. */
function readable(svg, panel, pixel, {left, right, top, bottom}, flipped) {
  const key = (point) => (flipped ? Math.floor(point[0]) : point[0]);
  const keys = [...new Set(panel.series.flatMap((one) => one.points.map(key)))].sort((a, b) => a - b);
  const at = (i) => pixel(keys[i] + (flipped ? 0.5 : 0));
  const cross = s("line", {class: "cross", visibility: "hidden"});
  svg.append(cross);
  let now = keys.length - 1;
  const read = (pointer) => {
    const ends = flipped ? {x1: left, x2: right, y1: at(now), y2: at(now)} : {x1: at(now), x2: at(now), y1: top, y2: bottom};
    fill(cross, {...ends, visibility: "visible"}, []);
    const box = svg.getBoundingClientRect();
    const lines = panel.series.flatMap((one) =>
      one.points.filter((point) => key(point) === keys[now]).map((point) => [one.colour, one.name, point[2]])
    );
    if (panel.series[0].kind === "bars") lines.reverse(); // as they stand upon each other
    const head = flipped ? panel.x.ticks[keys[now]][1] : `${panel.x.label} ${keys[now]}`;
    const [x, y] = flipped ? [(left + right) / 2, at(now)] : [at(now), (top + bottom) / 2];
    showTip(pointer ? pointer.clientX : box.left + x, pointer ? pointer.clientY : box.top + y, head, lines);
  };
  const leave = () => {
    cross.setAttribute("visibility", "hidden");
    hideTip();
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const here = flipped ? event.clientY - box.top : event.clientX - box.left;
    now = keys.reduce((best, _, i) => (Math.abs(at(i) - here) < Math.abs(at(best) - here) ? i : best), 0);
    read(event);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const back = flipped ? "ArrowUp" : "ArrowLeft",
      on = flipped ? "ArrowDown" : "ArrowRight";
    const move = {[back]: -1, [on]: 1, Home: -Infinity, End: Infinity}[event.key];
    if (event.key === "Escape") return leave();
    if (!move) return;
    event.preventDefault();
    // The first arrow only shows the place where one is.
    if (cross.getAttribute("visibility") === "visible" || !isFinite(move))
      now = Math.max(0, Math.min(keys.length - 1, now + move));
    read();
  });
  return svg;
}
