const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const several = RUNS.length > 1;
const hidden = new Set(); // places of the runs that are not shown
const isShown = (run) => run === undefined || run === null || !hidden.has(run);

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
const color = (name) => `var(--${name})`;
const swatch = (name) => h("span", {class: "swatch", style: `background:${color(name)}`, "aria-hidden": "true"});
const word = (verdict) => DATA.verdicts[verdict] || String(verdict).replace(/_/g, " ");
const empty = (text) => h("p", {class: "empty"}, text);
const code = (text) => h("span", {class: "code"}, text);
const bold = (text) => h("b", {}, text);
const remark = (...said) => h("p", {class: "soft small"}, ...said);
/* kind: the class of each text. */
const listed = (texts, kind = null, also = "") =>
  h("ul", {class: "atoms" + also}, ...texts.map((text) => h("li", {class: kind}, text)));

/* ---- tables. A cell is a text, a node, or {text, of, tone, colour, left, state}; nothing at all is shown as a dash. ---- */
const badge = (state) => h("span", {class: "badge " + (state === "in progress" ? "progress" : state)}, state);
function cell(tag, value) {
  if (!value || value instanceof Node || typeof value !== "object") return h(tag, {}, value ?? "\u2013");
  return h(
    tag,
    {class: value.kind || value.tone || (value.left && "left") || null},
    value.colour ? [swatch(value.colour), " "] : null,
    value.state ? badge(value.state) : value.text,
    value.of ? h("span", {class: "of"}, value.of) : null
  );
}
/* `head`: a cell for each column, or null. `rows`: lists of cells; a list may have a `kind`, the class of its row. */
function table(head, rows, {caption = null, kind = null} = {}) {
  const line = (tag, cells) =>
    h(
      "tr",
      {class: cells.kind},
      cells.map((value) => cell(tag, value))
    );
  const body = h(
    "tbody",
    {},
    rows.map((row) => line("td", row))
  );
  const top = head && h("thead", {}, line("th", head));
  return h("div", {class: "scroll"}, h("table", {class: kind}, caption && h("caption", {}, caption), top, body));
}

/* ---- what is drawn again when the runs shown or a choice change ---- */
const redraws = [];
const redraw = () => redraws.forEach((draw) => draw());
function live(host, draw) {
  const again = () => host.replaceChildren(...[draw()].flat(3).filter(Boolean));
  redraws.push(again);
  again();
  return host;
}
const watcher = new ResizeObserver((entries) =>
  entries.forEach((entry) => {
    const width = Math.round(entry.contentRect.width);
    if (entry.target.draw && width && entry.target.drawn !== width) {
      entry.target.drawn = width;
      entry.target.draw(width);
    }
  })
);
/* Buttons of which one is pressed. options: [value, text] each. */
function segments(label, options, get, set) {
  const buttons = options.map(([value, text]) =>
    h("button", {type: "button", onclick: () => (set(value), mark())}, text)
  );
  const mark = () => buttons.forEach((one, i) => one.setAttribute("aria-pressed", String(options[i][0] === get())));
  mark();
  const box = h("div", {class: "segments", role: "group", "aria-label": label}, buttons);
  return h("div", {class: "group"}, h("span", {}, label), box);
}

/* ---- tooltip ---- */
const tip = document.getElementById("tip");
/* lines: [colour, name, text] each. */
function showTip(x, y, head, lines) {
  tip.replaceChildren(
    h("b", {}, head),
    ...lines.map(([colour, name, text]) => h("div", {}, swatch(colour), h("span", {}, name), h("span", {}, text)))
  );
  const box = tip.getBoundingClientRect(),
    margin = 10;
  const left = x + 16 + box.width + margin > innerWidth ? x - box.width - 16 : x + 16;
  tip.style.left = Math.max(margin, Math.min(left, innerWidth - box.width - margin)) + "px";
  tip.style.top = Math.max(margin, Math.min(y - box.height / 2, innerHeight - box.height - margin)) + "px";
  tip.style.visibility = "visible";
}
const hideTip = () => {
  tip.style.visibility = "hidden";
};
addEventListener("scroll", hideTip, {passive: true});

/* ---- sections ---- */
function section({id, title, bar, about}, ...body) {
  document.getElementById("sections").append(h("a", {href: "#" + id}, bar || title));
  const heading = h("h2", {id: id + "-title"}, title);
  const text = about ? h("p", {class: "soft"}, about) : null;
  document.getElementById("page").append(h("section", {id, "aria-labelledby": id + "-title"}, heading, text, ...body));
}
