const DATA = JSON.parse(document.getElementById("data").textContent);

/* ---- elements. Text enters the page through text nodes only: what a model wrote can never become markup. ---- */
const SVG = "http://www.w3.org/2000/svg";
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : document.createTextNode(visible(String(child))));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
/* Control and direction characters are shown as what they are: they could make a text read as another. */
const visible = (text) =>
  text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => "\u27e8U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9"
  );
const swatch = (color) => h("span", {class: "swatch", style: `background:${color}`, "aria-hidden": "true"});

/* ---- figures ---- */
const WORDS = {
  success_plans: "success",
  plan_format_error: "format error",
  precondition_violation: "precondition violated",
  safety_constraints_violation: "constraint violated",
  goal_not_satisfied: "goal not reached",
  log_probs: "log probabilities",
};
const word = (name) => WORDS[name] || name.replace(/_/g, " ");
const known = (value) => typeof value === "number" && isFinite(value);
const percent = (value, digits = 1) => (known(value) ? (100 * value).toFixed(digits) + "%" : "\u2013");
const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "\u00b1") + Math.abs(value).toFixed(1);
function figure(value) {
  if (!known(value)) return "\u2013";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return (value / 1e6).toFixed(size >= 1e7 ? 0 : 1) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(0) + " k";
  if (size < 1e-3) return value.toExponential(1).replace("-", "\u2212").replace("e\u2212", "e\u2212");
  return String(+value.toPrecision(3)).replace("-", "\u2212");
}
function duration(seconds) {
  if (!known(seconds)) return "\u2013";
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  if (seconds < 3600)
    return Math.floor(seconds / 60) + " min " + String(Math.round(seconds % 60)).padStart(2, "0") + " s";
  if (seconds < 172800)
    return Math.floor(seconds / 3600) + " h " + String(Math.floor((seconds % 3600) / 60)).padStart(2, "0") + " min";
  return Math.round(seconds / 86400) + " days";
}
/* Wilson's score interval at 95%, as grpo_project/common/statistics.py has it. */
function wilson(successes, count) {
  if (!count) return [0, 1];
  const z = 1.96,
    rate = successes / count,
    scale = 1 + (z * z) / count;
  const centre = (rate + (z * z) / (2 * count)) / scale;
  const half = (z / scale) * Math.sqrt((rate * (1 - rate)) / count + (z * z) / (4 * count * count));
  return [successes === 0 ? 0 : Math.max(0, centre - half), successes === count ? 1 : Math.min(1, centre + half)];
}
const interval = (low, high) => `[${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
const sum = (values) => values.reduce((total, value) => total + (known(value) ? value : 0), 0);
const mean = (values) => {
  const found = values.filter(known);
  return found.length ? sum(found) / found.length : null;
};
const maximum = (values, least = 0) =>
  values.reduce((best, value) => (known(value) && value > best ? value : best), least);
const minimum = (values, most = 0) =>
  values.reduce((best, value) => (known(value) && value < best ? value : best), most);

/* ---- tables. A cell is a text, a node, a list of both, or a td of its own class; nothing at all is shown as a dash. ---- */
const td = (kind, ...content) => h("td", {class: kind}, ...content);
const th = (kind, ...content) => h("th", {class: kind}, ...content);
const isCell = (value) => value instanceof HTMLTableCellElement;
/* `heads`: a cell for each column. `rows`: lists of cells; a list may have a `kind`, the class of its row. `kind`: the class of the table. */
function table(heads, rows, {caption = null, kind = null} = {}) {
  const cell = (value) => (isCell(value) ? value : td(null, value ?? "\u2013"));
  return h(
    "div",
    {class: "scroll"},
    h(
      "table",
      {class: kind},
      caption && h("caption", {}, caption),
      heads &&
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map((head) => (isCell(head) ? head : th(null, head)))
          )
        ),
      h(
        "tbody",
        {},
        rows.map((row) => h("tr", {class: row.kind}, row.map(cell)))
      )
    )
  );
}
function rateCell(successes, count) {
  if (!count) return td(null, "\u2013");
  const [low, high] = wilson(successes, count);
  return td(null, percent(successes / count), h("span", {class: "of"}, `${successes}/${count} ${interval(low, high)}`));
}
function tenths(run) {
  const n = run.points.step.length,
    size = Math.max(1, Math.round(n / 10));
  return n
    ? [
        [0, size],
        [n - size, n],
      ]
    : null;
}
const windowText = (run, [from, to]) => {
  const first = from ? run.points.step[from - 1] + 1 : Math.min(1, run.points.step[0]),
    last = run.points.step[to - 1];
  return first >= last ? `step ${last}` : `steps ${first}\u2013${last}`;
};

/* ---- state and controls ---- */
const RUNS = DATA.runs;
RUNS.forEach((run, i) => {
  run.color = `var(--c${i % 6})`;
  run.dash = ["", "6 3", "2 3", "9 3 2 3"][Math.floor(i / 6) % 4];
  run.shown = true;
});
const shown = () => RUNS.filter((run) => run.shown);
const several = RUNS.length > 1;
const redraws = [];
const redraw = () => redraws.forEach((draw) => draw());
function live(host, draw) {
  const again = () => {
    host.replaceChildren(...[draw()].flat().filter(Boolean));
  };
  redraws.push(again);
  again();
  return host;
}
function segments(label, options, get, set) {
  const host = h("div", {class: "group"}, h("span", {}, label));
  const box = h("div", {class: "segments", role: "group", "aria-label": label});
  const mark = () =>
    [...box.children].forEach((button, i) => button.setAttribute("aria-pressed", String(options[i][0] === get())));
  options.forEach(([value, text]) =>
    box.append(
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            set(value);
            mark();
            redraw();
          },
        },
        text
      )
    )
  );
  mark();
  host.append(box);
  return host;
}
const legend = (items) =>
  h(
    "ul",
    {class: "legend"},
    items.map(([color, text, dash]) =>
      h(
        "li",
        {},
        dash === undefined
          ? swatch(color)
          : s(
              "svg",
              {width: 20, height: 10, "aria-hidden": "true"},
              s("line", {
                x1: 0,
                x2: 20,
                y1: 5,
                y2: 5,
                style: `stroke:${color}`,
                "stroke-width": 2,
                "stroke-dasharray": dash,
              })
            ),
        text
      )
    )
  );
const runLegend = () => (several ? legend(shown().map((run) => [run.color, run.name, run.dash])) : null);
const empty = (text) => h("p", {class: "empty"}, text);

/* ---- tooltip ---- */
const tip = document.getElementById("tip");
function showTip(x, y, head, lines) {
  tip.replaceChildren(
    h("b", {}, head),
    ...lines.map(([color, name, value]) =>
      h("div", {}, color ? swatch(color) : null, h("span", {}, name), h("span", {}, value))
    )
  );
  const box = tip.getBoundingClientRect(),
    margin = 10;
  let left = x + 16;
  if (left + box.width + margin > innerWidth) left = x - box.width - 16;
  tip.style.left = Math.max(margin, Math.min(left, innerWidth - box.width - margin)) + "px";
  tip.style.top = Math.max(margin, Math.min(y - box.height / 2, innerHeight - box.height - margin)) + "px";
  tip.style.visibility = "visible";
}
const hideTip = () => {
  tip.style.visibility = "hidden";
};
addEventListener("scroll", hideTip, {passive: true});

/* ---- one drawing routine for every chart over steps ---- */
const watcher = new ResizeObserver((entries) =>
  entries.forEach((entry) => {
    const width = Math.round(entry.contentRect.width);
    if (entry.target.draw && width && entry.target.drawn !== width) {
      entry.target.drawn = width;
      entry.target.draw(width);
    }
  })
);
function responsive(draw) {
  const host = h("div", {});
  host.draw = (width) => host.replaceChildren(draw(Math.max(width, 160)));
  watcher.observe(host);
  return host;
}
function ticks(low, high, count) {
  const span = high - low || 1,
    raw = span / count,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step)
    found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return found;
}
/* series: {name, color, dash, points: [[x, y, low, high, text]], step, dots, line}. marks: {x, y, low, high, color, name, text, hollow}.
   xName: what x counts. stack: series are piled up as bars. x runs over [0, xMax]; y over yRange or what is found. */
function chart({
  label,
  series,
  marks = [],
  xMax,
  yRange,
  format = figure,
  height = 176,
  stack = false,
  rules = [],
  xName = "step",
}) {
  const points = series.flatMap((one) => one.points);
  if (!points.length && !marks.length) return empty("Nothing recorded yet.");
  const stackX = stack ? series[0].points.map((point) => point[0]) : [];
  const totals = stackX.map((_, i) => sum(series.map((one) => one.points[i] && one.points[i][1])));
  let [low, high] =
    yRange ||
    (stack
      ? [0, maximum(totals) * 1.04 || 1]
      : [
          minimum([...points.map((p) => (known(p[2]) ? p[2] : p[1])), ...rules]),
          maximum([...points.map((p) => (known(p[3]) ? p[3] : p[1])), ...rules]) * 1.06,
        ]);
  if (high <= low) high = low + 1;
  const xs = [...new Set([...points.map((p) => p[0]), ...marks.map((m) => m.x)])].sort((a, b) => a - b);
  return responsive((width) => {
    const yTicks = ticks(low, high, height > 150 ? 4 : 3),
      labels = yTicks.map(format);
    const left = 12 + 6.4 * Math.max(...labels.map((text) => text.length)),
      right = 8,
      top = 8,
      bottom = 22;
    const X = (x) => left + ((width - left - right) * x) / (xMax || 1),
      Y = (y) => top + ((height - top - bottom) * (high - y)) / (high - low);
    const svg = s("svg", {
      class: "chart",
      width,
      height,
      role: "img",
      tabindex: 0,
      "aria-label": `${label}. Arrow keys read the values.`,
    });
    yTicks.forEach((tick, i) =>
      svg.append(
        s("line", {class: tick === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: Y(tick), y2: Y(tick)}),
        s("text", {x: left - 6, y: Y(tick) + 4, "text-anchor": "end"}, labels[i])
      )
    );
    const xTicks = ticks(0, xMax || 1, Math.max(2, Math.floor(width / 90))).filter((tick) => Number.isInteger(tick));
    xTicks.forEach((tick) =>
      svg.append(
        s(
          "text",
          {x: X(tick), y: height - 6, "text-anchor": tick === 0 ? "start" : X(tick) > width - 26 ? "end" : "middle"},
          tick === 0 ? `${xName} 0` : String(tick)
        )
      )
    );
    rules.forEach((rule) =>
      svg.append(s("line", {class: "cross", x1: left, x2: width - right, y1: Y(rule), y2: Y(rule)}))
    );
    if (stack) {
      const base = stackX.map(() => 0);
      series.forEach((one) =>
        one.points.forEach(([x, y], i) => {
          if (!known(y) || !y) return;
          const before = i ? stackX[i - 1] : Math.max(0, x - (stackX.length > 1 ? stackX[1] - stackX[0] : x));
          const from = X(before),
            gap = X(x) - from > 5 ? 1 : 0;
          svg.append(
            s("rect", {
              x: from + gap / 2,
              width: Math.max(0.6, X(x) - from - gap),
              y: Y(base[i] + y),
              height: Math.max(0, Y(base[i]) - Y(base[i] + y) - (gap ? 0.6 : 0)),
              style: `fill:${one.color}`,
            })
          );
          base[i] += y;
        })
      );
    } else
      for (const one of series) {
        const there = one.points.filter((p) => known(p[1])),
          banded = there.filter((p) => known(p[2]));
        if (banded.length > 1)
          svg.append(
            s("path", {
              style: `fill:${one.color}`,
              opacity: 0.15,
              d:
                "M" +
                banded.map((p) => `${X(p[0]).toFixed(1)},${Y(Math.min(high, p[3])).toFixed(1)}`).join("L") +
                "L" +
                banded
                  .slice()
                  .reverse()
                  .map((p) => `${X(p[0]).toFixed(1)},${Y(Math.max(low, p[2])).toFixed(1)}`)
                  .join("L") +
                "Z",
            })
          );
        else
          banded.forEach((p) =>
            svg.append(
              s("line", {
                x1: X(p[0]),
                x2: X(p[0]),
                y1: Y(p[2]),
                y2: Y(p[3]),
                style: `stroke:${one.color}`,
                opacity: 0.4,
              })
            )
          );
        if (one.line !== false && there.length > 1) {
          let path = "M";
          there.forEach((p, i) => {
            path +=
              (i ? (one.step ? `H${X(p[0]).toFixed(1)}V` : "L" + X(p[0]).toFixed(1) + ",") : X(p[0]).toFixed(1) + ",") +
              Y(p[1]).toFixed(1);
          });
          svg.append(
            s("path", {
              d: path,
              fill: "none",
              style: `stroke:${one.color}`,
              "stroke-width": one.width || 1.9,
              "stroke-dasharray": one.dash || null,
              "stroke-linejoin": "round",
              "stroke-linecap": "round",
            })
          );
        }
        if (one.dots || there.length === 1 || (there.length <= 16 && !one.step))
          there.forEach((p) =>
            svg.append(
              s("circle", {cx: X(p[0]), cy: Y(p[1]), r: there.length > 80 ? 1.6 : 2.3, style: `fill:${one.color}`})
            )
          );
      }
    marks.forEach((mark) => {
      const x = Math.min(width - right, Math.max(left, X(mark.x)));
      svg.append(
        s("line", {
          x1: x,
          x2: x,
          y1: Y(mark.low),
          y2: Y(mark.high),
          style: `stroke:${mark.color}`,
          "stroke-width": 1.4,
        }),
        s("path", {
          d: `M${x},${Y(mark.y) - 5}l5,5l-5,5l-5,-5Z`,
          style: `stroke:${mark.color};fill:${mark.hollow ? "var(--panel)" : mark.color}`,
          "stroke-width": 1.5,
        })
      );
    });
    const cross = s("line", {class: "cross", y1: top, y2: height - bottom, visibility: "hidden"});
    svg.append(cross);
    let at = xs.length - 1;
    const read = (clientX, clientY) => {
      const x = xs[at],
        place = Math.min(width - right, X(x)),
        box = svg.getBoundingClientRect();
      cross.setAttribute("x1", place);
      cross.setAttribute("x2", place);
      cross.setAttribute("visibility", "visible");
      const lines = [];
      for (const one of series) {
        const point = one.points.find((p) => p[0] === x);
        if (point && known(point[1])) lines.push([one.color, one.name, point[4] || format(point[1])]);
      }
      if (stack) lines.reverse();
      for (const mark of marks) if (mark.x === x) lines.push([mark.color, mark.name, mark.text]);
      showTip(
        clientX === undefined ? box.left + place : clientX,
        clientY === undefined ? box.top + height / 2 : clientY,
        `${xName} ${x}`,
        lines
      );
    };
    const leave = () => {
      cross.setAttribute("visibility", "hidden");
      hideTip();
    };
    svg.addEventListener("pointermove", (event) => {
      const x = ((event.clientX - svg.getBoundingClientRect().left - left) / (width - left - right)) * (xMax || 1);
      at = xs.reduce((best, value, i) => (Math.abs(value - x) < Math.abs(xs[best] - x) ? i : best), 0);
      read(event.clientX, event.clientY);
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const move = {ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9}[event.key];
      if (event.key === "Escape") return leave();
      if (!move) return;
      event.preventDefault();
      at =
        cross.getAttribute("visibility") === "hidden" && Math.abs(move) === 1
          ? at
          : Math.max(0, Math.min(xs.length - 1, at + move));
      read();
    });
    return svg;
  });
}
const panel = (title, side, body) =>
  h("figure", {class: "panel"}, h("figcaption", {}, h("b", {}, title), h("span", {}, side || "")), body);
const xEnd = (runs) => Math.max(1, ...runs.map((run) => Math.max(run.max_steps, run.step)));

/* Pools `size` neighbouring points: counts are added up, so that rates and intervals rest on all of them. */
function windows(run, size) {
  const n = run.points.step.length,
    found = [];
  for (let from = 0; from < n; from += size) found.push([from, Math.min(n, from + size)]);
  return found;
}
let pooling = 0;
const poolSize = (run) => pooling || Math.max(1, Math.ceil(run.points.step.length / 30));
function ratePoints(run, successes, counts) {
  return windows(run, poolSize(run))
    .map(([from, to]) => {
      const won = sum(successes.slice(from, to)),
        all = sum(counts.slice(from, to)),
        [low, high] = wilson(won, all);
      return all
        ? [run.points.step[to - 1], won / all, low, high, `${percent(won / all)} ${interval(low, high)} ${won}/${all}`]
        : null;
    })
    .filter(Boolean);
}
function meanPoints(run, values, weights) {
  return windows(run, poolSize(run))
    .map(([from, to]) => {
      const count = weights ? sum(weights.slice(from, to)) : 0;
      const value = weights ? (count ? sum(values.slice(from, to)) / count : null) : mean(values.slice(from, to));
      return known(value) ? [run.points.step[to - 1], value] : null;
    })
    .filter(Boolean);
}
