/* The blocks of reporting/sections.py as elements. */
const BLOCKS = {
  text: ({text, small}) => h("p", {class: small ? "soft small" : "soft"}, text),
  empty: ({text}) => empty(text),
  heading: ({text, colour}) => h("h3", {}, colour ? [swatch(colour), " "] : null, text),
  chart: ({name, run}) => chart(name, run),
  table: ({head, rows, caption, words}) =>
    table(
      head,
      rows.filter((row) => isShown(row.run)).map((row) => row.cells),
      {caption, kind: words ? "words" : null}
    ),
  split: ({left, right, run}, choice) =>
    h("div", {class: "split"}, h("div", {}, blocks(left, choice, run)), h("div", {class: "stacked"}, blocks(right, choice, run))),
  details: ({summary, blocks: inner, run}, choice) =>
    h("details", {}, h("summary", {}, summary), blocks(inner, choice, run)),
  alarm: ({level, title, detail, step}) =>
    h(
      "div",
      {class: "alarm " + level},
      h("b", {}, title),
      typeof step === "number" ? h("span", {class: "where"}, ` \u00b7 step ${step}`) : null,
      detail ? h("div", {}, detail) : null
    ),
  state: ({state, path, text}) => h("p", {class: "soft"}, badge(state), " ", code(path), ". ", text),
  tiles: ({tiles}) => h("div", {class: "tiles"}, tiles.map(tile)),
  toggles: () => h("div", {class: "controls", role: "group", "aria-label": "Runs shown"}, RUNS.map(toggle)),
};
/* `run`: the run of the block around them. */
const blocks = (list, choice, run) =>
  list
    .map((one) => ({run, ...one}))
    .filter((one) => isShown(one.run))
    .filter((one) => Object.entries(one.when || {}).every(([name, value]) => (choice[name] ?? "") === value))
    .map((one) => BLOCKS[one.kind](one, choice));

function tile({label, value, under, share}) {
  const meter = h("div", {class: "meter", "aria-hidden": "true"}, h("i", {style: `width:${100 * share}%`}));
  return h(
    "div",
    {class: "tile"},
    h("div", {class: "label"}, label),
    h("div", {class: "value"}, value),
    h("div", {class: "under"}, under),
    typeof share === "number" ? meter : null
  );
}
function toggle(run, place) {
  const act = () => {
    if (isShown(place) && hidden.size === RUNS.length - 1) return; // the last one shown stays
    isShown(place) ? hidden.add(place) : hidden.delete(place);
    redraw();
    document.querySelector(`[data-run="${place}"]`).focus(); // the button was drawn anew
  };
  return h(
    "button",
    {type: "button", class: "chip", "aria-pressed": String(isShown(place)), "data-run": place, onclick: act},
    swatch(run.colour),
    run.name
  );
}
function layOut(spec) {
  const choice = Object.fromEntries(spec.controls.map(({label, options}) => [label, options[0][0]]));
  const host = h("div", {});
  const again = live(host, () => blocks(spec.blocks, choice));
  const choose = ({label, options}) =>
    segments(
      label,
      options,
      () => choice[label],
      (value) => {
        choice[label] = value;
        host.replaceChildren(...blocks(spec.blocks, choice).flat(3).filter(Boolean));
      }
    );
  section(spec, spec.controls.length ? h("div", {class: "controls"}, spec.controls.map(choose)) : null, again);
}
