/* ---- plan viewer: a plan replayed step by step; the verdict is the validator's, the drawing is ours ---- */

const sum = (values) => values.reduce((total, value) => total + value, 0);
const atomOf = (text) => text.slice(1, -1).split(" ");
const argumentsOf = (texts) =>
  new Set(texts.flatMap((text) => text.replace(/[()]/g, " ").trim().split(/\s+/).slice(1)));

/* The states S0, S1, ... of a trace as lists of atoms [predicate, argument, ...], static atoms included. */
function statesOf(trace) {
  const state = new Set(trace.initial);
  const read = () => [...trace.static, ...[...state].map(atomOf)];
  const states = [read()];
  for (const [added, deleted] of trace.changes) {
    deleted.forEach((atom) => state.delete(atom));
    added.forEach((atom) => state.add(atom));
    states.push(read());
  }
  return states;
}

/* What a drawing looks at: true atoms by predicate, and which objects the step uses or misses. */
class Scene {
  constructor(trace, atoms, active, wrong) {
    this.trace = trace;
    this.atoms = atoms;
    this.active = active;
    this.wrong = wrong;
  }
  all(predicate) {
    return this.atoms.filter((atom) => atom[0] === predicate).map((atom) => atom.slice(1));
  }
  /* Who is there: a of each (predicate a place). */
  there(predicate, place) {
    return this.all(predicate).flatMap(([name, at]) => (at === place ? [name] : []));
  }
  /* What somebody has: the arguments behind `own` in each (predicate own ...). */
  owned(predicate, own) {
    return this.all(predicate).flatMap(([name, ...rest]) => (name === own ? [rest] : []));
  }
  has(...atom) {
    return this.atoms.some((one) => one.length === atom.length && one.every((part, i) => part === atom[i]));
  }
  typed(type) {
    return Object.keys(this.trace.objects).filter((name) => this.trace.objects[name] === type);
  }
  goal(predicate, object) {
    const found = this.trace.goal.map(atomOf).find((atom) => atom[0] === predicate && atom[1] === object);
    return found && found[2];
  }
  /* The mark of a thing that an atom without arguments speaks of: (arm-empty), (empty-ferry). */
  markFor(atom) {
    return this.missing && this.missing.includes(atom) ? " wrong" : "";
  }
  mark(name) {
    return this.wrong.has(name) ? " wrong" : this.active.has(name) ? " active" : "";
  }
}

/* -- pieces -- */
const LETTER = 6.9; // px of one letter at 11.5 px, generous
const CHIP = 24;
const textWidth = (text) => LETTER * text.length;
const shortened = (text, width) =>
  textWidth(text) <= width ? text : text.slice(0, Math.max(2, Math.floor(width / LETTER) - 1)) + "\u2026";
const box = (x, y, width, height, kind, radius = 6) => s("rect", {x, y, width, height, rx: radius, class: kind});
const write = (x, y, text, kind, anchor = "middle") => s("text", {x, y, class: kind, "text-anchor": anchor}, text);
function chipWidth(chip) {
  return textWidth(chip.text) + 14;
}
function drawChip(x, y, chip, widest) {
  const width = Math.min(chipWidth(chip), widest);
  return s(
    "g",
    {},
    box(x, y, width, CHIP - 4, chip.kind, chip.round ? 10 : 5),
    write(x + width / 2, y + 14, shortened(chip.text, width - 8), chip.textKind),
    s("title", {}, chip.text)
  );
}
/* Chips in lines no wider than `width`: [[chip, x, line], ...] and the number of lines. */
function flow(chips, width) {
  let x = 0,
    line = 0;
  const placed = chips.map((chip) => {
    const own = Math.min(chipWidth(chip), width);
    if (x && x + own > width) {
      x = 0;
      line += 1;
    }
    const place = [chip, x, line];
    x += own + 5;
    return place;
  });
  return [placed, chips.length ? line + 1 : 0];
}
/* A thing that should go somewhere: its name, where to, and whether it is there. */
function cargo(scene, name, at, target, round) {
  const done = target !== undefined && target === at;
  return {
    text: target === undefined ? name : done ? `${name} \u2713` : `${name} \u2192 ${target}`,
    kind: (done ? "done" : "piece") + scene.mark(name),
    round,
  };
}

/* Places as boxes in a grid; each holds chips and carriers (a name with slots). The boxes of a row are as high as the fullest
   of them in any state of the trace, so that nothing jumps while a plan runs. */
function drawPlaces(scene, contents, width, {minimum = 150, linked = false} = {}) {
  const now = contents(scene);
  const count = now.length,
    gap = linked ? 20 : 12;
  const columns = Math.max(1, Math.min(count, Math.floor((width + gap) / (minimum + gap))));
  const across = (width - gap * (columns - 1)) / columns,
    inner = across - 16;
  const carrierHeight = (carrier) => 20 + CHIP * flow(carrier.chips, inner - 12)[1] + 4;
  const need = (place) =>
    26 + CHIP * flow(place.chips, inner)[1] + sum(place.carriers.map((c) => carrierHeight(c) + 6));
  const heights = Array(Math.ceil(count / columns)).fill(62);
  for (const atoms of scene.states)
    contents(new Scene(scene.trace, atoms, new Set(), new Set())).forEach((place, i) => {
      const row = Math.floor(i / columns);
      heights[row] = Math.max(heights[row], need(place) + 8);
    });
  const tops = heights.map((_, row) => sum(heights.slice(0, row)) + row * gap);
  const svg = s("svg", {width, height: sum(heights) + gap * (heights.length - 1) + 2});
  now.forEach((place, i) => {
    const row = Math.floor(i / columns),
      x = (i % columns) * (across + gap) + 1,
      y = tops[row] + 1,
      height = heights[row] - 2;
    svg.append(
      box(x, y, across - 2, height, "place" + scene.mark(place.name), 8),
      write(x + 9, y + 17, shortened(place.name, inner - (place.note ? textWidth(place.note) : 0)), "label", "start")
    );
    if (place.note) svg.append(write(x + across - 11, y + 17, place.note, "label", "end"));
    if (linked && i + 1 < count) svg.append(linkArrow(i % columns === columns - 1, x, y, across, height, gap));
    flow(place.chips, inner)[0].forEach(([chip, left, line]) =>
      svg.append(drawChip(x + 8 + left, y + 26 + CHIP * line, chip, inner))
    );
    let bottom = y + height - 6;
    for (const carrier of place.carriers) {
      const tall = carrierHeight(carrier),
        top = bottom - tall;
      svg.append(
        box(x + 6, top, across - 14, tall, "carrier" + carrier.mark, 10),
        write(x + 13, top + 14, shortened(carrier.name, inner), "", "start")
      );
      flow(carrier.chips, inner - 12)[0].forEach(([chip, left, line]) =>
        svg.append(drawChip(x + 12 + left, top + 20 + CHIP * line, chip, inner - 12))
      );
      bottom = top - 6;
    }
  });
  return svg;
}
/* The only way on: to the right, or at the end of a line down to the next one. */
function linkArrow(turns, x, y, across, height, gap) {
  const path = turns
    ? `M${x + across / 2},${y + height + 3}v${gap - 8}m-4,-5l4,5l4,-5`
    : `M${x + across + 2},${y + height / 2}h${gap - 8}m-5,-4l5,4l-5,4`;
  return s("path", {d: path, class: "arrow", fill: "none"});
}

/* -- the five domains -- */
function drawBlocks(scene, width) {
  const blocks = [...new Set(scene.states.flatMap((atoms) => blockNames(atoms)))];
  const slots = tableSlots(scene.states.slice(0, scene.index + 1));
  const most = Math.max(1, ...scene.states.map((_, i) => tableSlots(scene.states.slice(0, i + 1)).length));
  const goalStacks = goalTowers(scene.trace.goal);
  const goalShown = goalStacks.length > 0;
  const columns = most + (goalShown ? goalStacks.length + 0.7 : 0);
  const across = Math.min(64, (width - 4) / columns),
    tall = Math.min(34, across * 0.72);
  const held = scene.all("holding")[0];
  const highest = Math.max(
    1,
    ...scene.states.map((atoms) => Math.max(0, ...towers(atoms).map((t) => t.length))),
    ...goalStacks.map((stack) => stack.length)
  );
  const floor = (highest + 1) * tall + 46;
  const svg = s("svg", {width, height: floor + 24});
  const block = (name, x, y, kind, textKind) =>
    svg.append(
      s(
        "g",
        {},
        box(x + 2, y, across - 4, tall - 2, kind, 4),
        write(x + across / 2, y + tall / 2 + 3, shortened(name, across - 6), textKind),
        s("title", {}, name)
      )
    );
  svg.append(s("line", {class: "ground", x1: 0, x2: most * across, y1: floor, y2: floor}));
  const standing = new Map(towers(scene.atoms).map((tower) => [tower[0], tower]));
  slots.forEach((bottom, slot) => {
    (standing.get(bottom) || []).forEach((name, level) =>
      block(name, slot * across, floor - (level + 1) * tall, "piece" + scene.mark(name))
    );
  });
  const armX = (most * across) / 2;
  svg.append(
    s("path", {
      class: "carrier arm" + scene.markFor("(arm-empty)"),
      d: `M${armX},0V14M${armX - across / 2},24V14H${armX + across / 2}V24`,
    }),
    write(armX + across / 2 + 8, 14, held ? "" : "arm empty", "label", "start")
  );
  if (held) block(held[0], armX - across / 2, 20, "piece" + scene.mark(held[0]));
  if (goalShown) {
    const left = (most + 0.7) * across;
    svg.append(
      s("line", {class: "ground ghost", x1: left, x2: left + goalStacks.length * across, y1: floor, y2: floor}),
      write(left + (goalStacks.length * across) / 2, floor + 16, "goal", "label")
    );
    goalStacks.forEach((stack, slot) =>
      stack.forEach((name, level) =>
        block(name, left + slot * across, floor - (level + 1) * tall, "ghost", "ghost-text")
      )
    );
  }
  svg.append(write((most * across) / 2, floor + 16, "table", "label"));
  return blocks.length ? svg : null;
}
function blockNames(atoms) {
  return atoms
    .filter(([name]) => ["on", "on-table", "holding", "clear"].includes(name))
    .flatMap((atom) => atom.slice(1));
}
/* Bottom to top, one list for each block on the table. */
function towers(atoms) {
  const above = new Map(atoms.filter((atom) => atom[0] === "on").map(([, upper, lower]) => [lower, upper]));
  return atoms
    .filter((atom) => atom[0] === "on-table")
    .map(([, bottom]) => {
      const tower = [bottom];
      while (above.has(tower[tower.length - 1]) && tower.length < 1000) tower.push(above.get(tower[tower.length - 1]));
      return tower;
    });
}
/* Where on the table each bottom block stands: it keeps its place, and a block put down takes the first free one. */
function tableSlots(states) {
  const slots = [];
  for (const atoms of states) {
    const bottoms = atoms.filter((atom) => atom[0] === "on-table").map((atom) => atom[1]);
    slots.forEach((name, i) => {
      if (!bottoms.includes(name)) slots[i] = null;
    });
    for (const name of bottoms) {
      if (slots.includes(name)) continue;
      const free = slots.indexOf(null);
      slots[free < 0 ? slots.length : free] = name;
    }
  }
  return slots;
}
/* The towers that the goal asks for, where it is a list of (on a b) and (on-table a). */
function goalTowers(goal) {
  const atoms = goal.map(atomOf).filter((atom) => atom[0] === "on" || atom[0] === "on-table");
  const uppers = new Set(atoms.filter((atom) => atom[0] === "on").map((atom) => atom[1]));
  const bottoms = atoms.filter((atom) => atom[0] === "on" && !uppers.has(atom[2])).map((atom) => atom[2]);
  const tables = atoms.filter((atom) => atom[0] === "on-table").map((atom) => atom[1]);
  const all = [...new Set([...tables, ...bottoms])].map((name) => ["on-table", name]);
  return towers([...atoms.filter((atom) => atom[0] === "on"), ...all]);
}

function drawFerry(scene, width) {
  const places = scene.all("location").map(([name]) => name);
  return drawPlaces(
    scene,
    (at) =>
      places.map((name) => ({
        name,
        chips: at.there("at", name).map((car) => cargo(at, car, name, at.goal("at", car))),
        carriers: at.has("at-ferry", name)
          ? [
              {
                name: at.has("empty-ferry") ? "ferry, empty" : "ferry",
                mark: at.markFor("(empty-ferry)"),
                chips: at.all("on").map(([car]) => cargo(at, car, null, at.goal("at", car))),
              },
            ]
          : [],
      })),
    width
  );
}

function drawRooms(scene, width) {
  const rooms = scene.typed("room");
  return drawPlaces(
    scene,
    (at) =>
      rooms.map((name) => ({
        name,
        chips: at.there("at", name).map((ball) => cargo(at, ball, name, at.goal("at", ball), true)),
        carriers: at.there("at-robby", name).map((robot) => ({
          name: robot,
          mark: at.mark(robot),
          chips: [
            ...at.owned("free", robot).map(([gripper]) => ({
              text: gripper,
              kind: "ghost" + at.mark(gripper),
              textKind: "ghost-text",
              order: gripper,
            })),
            ...at.owned("carry", robot).map(([ball, gripper]) => ({
              ...cargo(at, ball, null, at.goal("at", ball), true),
              order: gripper,
            })),
          ].sort((a, b) => (a.order < b.order ? -1 : 1)),
        })),
      })),
    width,
    {minimum: 190}
  );
}

function drawCorridor(scene, width) {
  const next = new Map(scene.all("link"));
  const ends = new Set(next.values());
  const order = [];
  const places = [...new Set([...scene.typed("location"), ...next.keys(), ...ends])];
  for (const start of places.filter((name) => !ends.has(name)))
    for (let name = start; name !== undefined && !order.includes(name); name = next.get(name)) order.push(name);
  places.forEach((name) => order.includes(name) || order.push(name));
  const men = scene.typed("man");
  const spanner = (at, name) => ({
    text: at.has("useable", name) ? name : `${name}, used`,
    kind: "piece" + (at.has("useable", name) ? "" : " spent") + at.mark(name),
  });
  const nut = (at, name) => ({
    text: at.has("tightened", name) ? `${name} \u2713` : `${name}, loose`,
    kind: (at.has("tightened", name) ? "done" : "piece") + at.mark(name),
    round: true,
  });
  return drawPlaces(
    scene,
    (at) =>
      order.map((place) => {
        const here = at.there("at", place);
        return {
          name: place,
          chips: here
            .filter((name) => !men.includes(name))
            .map((name) => (at.trace.objects[name] === "nut" ? nut(at, name) : spanner(at, name))),
          carriers: here
            .filter((name) => men.includes(name))
            .map((man) => ({
              name: man,
              mark: at.mark(man),
              chips: at.owned("carrying", man).map(([name]) => spanner(at, name)),
            })),
        };
      }),
    width,
    {linked: true, minimum: 140}
  );
}

/* What is on a truck carries the truck's sign. */
const loaded = (chip) => ({...chip, text: `\u25a3 ${chip.text}`});
function drawGrid(scene, width) {
  const cells = cellPlaces(scene);
  if (!cells) return null;
  const rows = 1 + Math.max(...cells.map((cell) => cell.row)),
    columns = 1 + Math.max(...cells.map((cell) => cell.column));
  const size = Math.min(118, (width - 4) / columns);
  const svg = s("svg", {width: Math.max(width, columns * size + 4), height: rows * size + 4});
  const trucks = scene.typed("truck"),
    visited = new Set(scene.all("last").map(([, cell]) => cell));
  const corner = (cell) => [2 + cell.column * size, 2 + cell.row * size];
  for (const cell of cells) {
    const [x, y] = corner(cell);
    const here = scene.there("at", cell.name);
    const inner = size - 12;
    const kind = (visited.has(cell.name) ? "trail" : "place") + scene.mark(cell.name);
    svg.append(
      box(x + 1.5, y + 1.5, size - 3, size - 3, kind, 6),
      write(x + 7, y + 14, shortened(cell.name, inner), "label", "start")
    );
    const chips = [
      ...here
        .filter((name) => !trucks.includes(name))
        .map((name) => cargo(scene, name, cell.name, scene.goal("at", name))),
      ...here
        .filter((name) => trucks.includes(name))
        .flatMap((truck) => [
          {text: `\u25a3 ${truck}${scene.has("empty", truck) ? ", empty" : ""}`, kind: "carrier" + scene.mark(truck)},
          ...scene.owned("carrying", truck).map(([name]) => loaded(cargo(scene, name, null, scene.goal("at", name)))),
        ]),
    ];
    const [placed, lines] = flow(chips, inner);
    const pitch = Math.min(CHIP, (size - 22) / Math.max(1, lines));
    placed.forEach(([chip, left, line]) => svg.append(drawChip(x + 6 + left, y + 19 + pitch * line, chip, inner)));
  }
  const byPlace = new Map(cells.map((cell) => [`${cell.row},${cell.column}`, cell]));
  for (const cell of cells)
    for (const [down, right] of [
      [0, 1],
      [1, 0],
    ]) {
      const other = byPlace.get(`${cell.row + down},${cell.column + right}`);
      if (!other || scene.has("adjacent", cell.name, other.name) || scene.has("adjacent", other.name, cell.name))
        continue;
      const [x, y] = corner(other);
      svg.append(s("line", {class: "barred", x1: x, y1: y, x2: down ? x + size : x, y2: down ? y : y + size}));
    }
  return svg;
}
/* Rows and columns from the last two numbers of the cells' names; null where the names do not tell. */
function cellPlaces(scene) {
  const names = [...new Set([...scene.typed("cell"), ...scene.all("adjacent").flat()])];
  const cells = names.map((name) => {
    const found = /(\d+)\D+(\d+)$/.exec(name);
    return found && {name, row: +found[1], column: +found[2]};
  });
  if (!cells.length || cells.some((cell) => !cell)) return null;
  const top = Math.min(...cells.map((cell) => cell.row)),
    left = Math.min(...cells.map((cell) => cell.column));
  cells.forEach((cell) => {
    cell.row -= top;
    cell.column -= left;
  });
  return cells.every((cell) => cell.row < 40 && cell.column < 40) ? cells : null;
}

const DRAWINGS = {
  blocksworld: drawBlocks,
  ferry: drawFerry,
  grippers: drawRooms,
  spanner: drawCorridor,
  delivery: drawGrid,
};
/* Row data may bring other PDDL under a known name: what cannot be drawn is listed. */
function drawScene(scene, width) {
  const draw = Object.hasOwn(DRAWINGS, scene.trace.domain) ? DRAWINGS[scene.trace.domain] : null;
  const drawn = draw && draw(scene, width);
  if (drawn && drawn.childNodes.length) return drawn;
  return h(
    "div",
    {},
    remark("No drawing for this domain: the atoms that hold and can change."),
    listed(
      scene.atoms
        .slice(scene.trace.static.length)
        .slice(0, 200)
        .map((atom) => `(${atom.join(" ")})`)
    )
  );
}

/* -- a trace as positions: S0 .. Sn, and one more where a step cannot run -- */
function positionsOf(trace) {
  const {verdict, changes} = trace;
  const fails = verdict.class === "precondition_violation" && verdict.failing_step === changes.length + 1;
  return {last: changes.length + (fails ? 1 : 0), ran: changes.length, fails};
}
const failure = (trace) => trace.verdict.class !== "success_plans";
function statusOf(trace, position) {
  const {verdict} = trace;
  const {last, ran, fails} = positionsOf(trace);
  const total = trace.steps.length;
  const goals = () => {
    const met = trace.goals_met[Math.min(position, ran)];
    return `${[...met].filter((one) => one === "1").length} of ${met.length} goals hold.`;
  };
  const unmet = () => listed(verdict.unmet, "unmet");
  if (verdict.class === "plan_format_error")
    return ["bad", bold("This is no plan that can be run. "), verdict.detail || "No step could be read."];
  if (fails && position === last)
    return [
      "bad",
      bold(`Step ${verdict.failing_step} cannot run: `),
      code(trace.steps[verdict.failing_step - 1]),
      ". It needs what does not hold:",
      unmet(),
    ];
  if (verdict.class === "safety_constraints_violation" && position === verdict.state_index)
    return [
      "bad",
      bold(position ? `After step ${position} a constraint is broken: ` : "The initial state breaks a constraint: "),
      code(verdict.violated_constraint || ""),
    ];
  if (position === last && verdict.class === "goal_not_satisfied")
    return ["bad", bold("The plan ends here and the goal is not reached. Unmet:"), unmet()];
  if (position === last && verdict.class === "success_plans")
    return ["good", bold(`All ${total} steps ran and the goal is reached. `), goals()];
  if (position === last && verdict.steps_executed > ran)
    return ["", bold(`The page keeps the first ${ran} steps; ${verdict.steps_executed} ran. `), verdict.detail];
  if (!position) return ["", bold("Before the first step. "), goals()];
  const [added, deleted] = trace.changes[position - 1];
  const list = (texts) => texts.join(" ") || "nothing";
  return [
    "",
    bold(`Step ${position} of ${total}: `),
    code(trace.steps[position - 1]),
    h("div", {class: "small"}, "Now true: ", code(list(added)), ". No longer: ", code(list(deleted)), ". ", goals()),
  ];
}
function sceneOf(trace, states, position) {
  const {last, ran, fails} = positionsOf(trace);
  const atFailure = fails && position === last;
  const wrong =
    atFailure || (position === last && trace.verdict.class === "goal_not_satisfied") ? trace.verdict.unmet : [];
  const active = argumentsOf(position ? [trace.steps[position - 1]] : []);
  const scene = new Scene(trace, states[Math.min(position, ran)], active, argumentsOf(wrong));
  scene.states = states;
  scene.index = Math.min(position, ran);
  scene.missing = wrong;
  return scene;
}

/* -- the section -- */
const choiceText = (trace) =>
  `${trace.source === "training" ? "step " + trace.step : trace.source} \u00b7 ${word(trace.verdict.class)} \u00b7 ${trace.problem_file}`;
const options = (items, text) => items.map((item, i) => h("option", {value: i}, text(item)));

function viewer() {
  const about =
    "Plans of the model, replayed step by step up to the one that fails. Training samples are the first completion of a domain after each log line, chosen before they were verified; held-out answers are the first of each verdict.";
  const withTraces = RUNS.filter((run) => run.traces.length);
  const notes = RUNS.flatMap((run) => run.trace_notes.map((note) => (several ? `${run.name}: ${note}` : note)));
  const told = notes.length ? remark(notes.join(" ")) : null;
  const spec = {id: "plans", title: "Plans", about};
  if (!withTraces.length) return section(spec, empty("No plan to show yet."), told);
  const state = {run: withTraces[0], domain: null, verdict: "all", trace: null, states: null, position: 0, timer: null};

  const names = options(withTraces, (run) => run.name);
  const runSelect = h("select", {"aria-label": "Run"}, names);
  const domainBox = h("div", {class: "segments", role: "group", "aria-label": "Domain"});
  const verdictSelect = h("select", {"aria-label": "Verdict"});
  const planSelect = h("select", {"aria-label": "Plan", class: "plans"});
  const stage = h("div", {class: "stage"});
  const status = h("div", {class: "status", "aria-live": "polite"});
  const slider = h("input", {type: "range", min: 0, value: 0, "aria-label": "Step of the plan"});
  const counter = h("span", {class: "soft small counter"});
  const steps = h("ol", {class: "steps", "aria-label": "Steps of the plan"});
  const side = h("div", {});
  const head = remark();

  const button = (label, title, act) =>
    h("button", {type: "button", class: "plain", "aria-label": title, title, onclick: act}, label);
  const buttons = {
    first: button("\u21e4", "To the start", () => go(0)),
    back: button("\u2190", "One step back", () => go(state.position - 1)),
    play: button("Play", "Play the plan", () => (state.timer ? pause() : play())),
    next: button("\u2192", "One step on", () => go(state.position + 1)),
    end: button("To the end", "To the last step, or the one that fails", () => go(Infinity)),
  };
  function pause() {
    clearInterval(state.timer);
    state.timer = null;
    buttons.play.replaceChildren("Play");
  }
  function play() {
    if (!positionsOf(state.trace).last) return;
    if (state.position >= positionsOf(state.trace).last) show(0);
    buttons.play.replaceChildren("Pause");
    state.timer = setInterval(() => {
      show(state.position + 1);
      if (state.position >= positionsOf(state.trace).last) pause();
    }, 700);
  }
  function go(position) {
    pause();
    show(position);
  }
  stage.draw = (width) => {
    if (state.trace && width > 40)
      stage.replaceChildren(drawScene(sceneOf(state.trace, state.states, state.position), width));
  };
  watcher.observe(stage);

  function show(position) {
    const {trace} = state;
    const {last} = positionsOf(trace);
    state.position = Math.max(0, Math.min(last, position));
    const [kind, ...said] = statusOf(trace, state.position);
    status.className = "status " + kind;
    status.replaceChildren(h("span", {}, said));
    slider.max = last;
    slider.value = state.position;
    slider.setAttribute("aria-valuetext", `step ${state.position} of ${trace.steps.length}`);
    counter.replaceChildren(`${state.position} / ${trace.steps.length}`);
    // Not `disabled`: the button that has the focus would lose it at the end of a plan, and the keys with it.
    const off = (names, idle) => names.forEach((name) => buttons[name].setAttribute("aria-disabled", String(idle)));
    off(["first", "back"], state.position === 0);
    off(["next", "end"], state.position === last);
    off(["play"], last === 0);
    buttons.end.replaceChildren(failure(trace) && last ? "To the failure" : "To the end");
    const style = getComputedStyle(stage);
    stage.draw(stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    steps.querySelectorAll("button").forEach((line, i) => {
      if (i + 1 !== state.position) return line.removeAttribute("aria-current");
      line.setAttribute("aria-current", "step");
      const place = line.parentElement.offsetTop - steps.offsetTop;
      if (steps.scrollHeight > steps.clientHeight)
        steps.scrollTop = place - (steps.clientHeight - line.offsetHeight) / 2;
    });
    const met = trace.goals_met[Math.min(state.position, trace.changes.length)];
    side.querySelectorAll(".goals li").forEach((item, i) => (item.className = met[i] === "1" ? "met" : "unmet"));
  }

  function open(trace) {
    pause();
    state.trace = trace;
    state.states = statesOf(trace);
    const {verdict} = trace;
    const {ran, fails} = positionsOf(trace);
    head.replaceChildren(
      code(trace.problem_file),
      ` \u00b7 ${trace.bucket || "no difficulty"} \u00b7 ${trace.source}, step ${trace.step}` +
        (trace.reward ? ` \u00b7 reward ${trace.reward}` : ""),
      trace.recorded_verdict && trace.recorded_verdict !== verdict.class
        ? h(
            "b",
            {class: "down"},
            ` \u00b7 was ${word(trace.recorded_verdict)} when it was made, is ${word(verdict.class)} now`
          )
        : ""
    );
    const broken = verdict.class === "safety_constraints_violation";
    const bad = broken ? verdict.state_index : verdict.failing_step;
    steps.replaceChildren(
      ...trace.steps.map((step, i) => {
        const number = i + 1;
        const kind = number === bad ? "fails" : number > ran ? "idle" : "";
        const reachable = number <= ran || (fails && number === ran + 1);
        const markText = number === bad ? (broken ? "breaks a constraint" : "fails") : "";
        return h(
          "li",
          {class: kind},
          h(
            "button",
            {type: "button", disabled: !reachable, onclick: () => go(number)},
            h("span", {class: "n"}, number),
            code(step),
            h("span", {class: "mark"}, markText)
          )
        );
      })
    );
    if (!trace.steps.length) steps.replaceChildren(h("li", {class: "none"}, "No step could be read."));
    side.replaceChildren(
      h("h3", {}, "Goal"),
      listed(trace.goal, null, " goals"),
      ...(trace.constraints.length
        ? [h("h3", {}, "Constraints"), ...trace.constraints.map((text) => h("pre", {}, text))]
        : []),
      h("h3", {}, "Steps"),
      steps,
      h(
        "details",
        {},
        h("summary", {}, "What the model wrote"),
        h("pre", {class: "completion"}, trace.text || "(nothing)"),
        trace.cut ? remark("Only the beginning was kept.") : null
      )
    );
    show(0);
  }

  const ofDomain = () => state.run.traces.filter((trace) => trace.domain === state.domain);
  const chosen = () => ofDomain().filter((trace) => state.verdict === "all" || trace.verdict.class === state.verdict);
  function choosePlan() {
    const list = chosen();
    planSelect.replaceChildren(...options(list, choiceText));
    // The latest failure teaches most; without one the latest plan.
    const failed = list.findLastIndex((trace) => failure(trace) && trace.steps.length);
    const place = failed < 0 ? list.length - 1 : failed;
    planSelect.value = place;
    open(list[place]);
  }
  function chooseDomain(domain) {
    state.domain = domain;
    state.verdict = "all";
    [...domainBox.children].forEach((one) => one.setAttribute("aria-pressed", String(one.value === domain)));
    const classes = Object.keys(DATA.verdicts).filter((name) => ofDomain().some((trace) => trace.verdict.class === name));
    verdictSelect.replaceChildren(
      h("option", {value: "all"}, `all verdicts (${ofDomain().length})`),
      ...classes.map((name) =>
        h(
          "option",
          {value: name},
          `${word(name)} (${ofDomain().filter((trace) => trace.verdict.class === name).length})`
        )
      )
    );
    choosePlan();
  }
  function chooseRun(run) {
    state.run = run;
    const domains = [...new Set(run.traces.map((trace) => trace.domain))].sort();
    domainBox.replaceChildren(
      ...domains.map((domain) =>
        h("button", {type: "button", value: domain, onclick: () => chooseDomain(domain)}, domain)
      )
    );
    chooseDomain(domains.includes(state.domain) ? state.domain : domains[0]);
  }
  runSelect.addEventListener("change", () => chooseRun(withTraces[runSelect.value]));
  verdictSelect.addEventListener("change", () => {
    state.verdict = verdictSelect.value;
    choosePlan();
  });
  planSelect.addEventListener("change", () => open(chosen()[planSelect.value]));
  slider.addEventListener("input", () => go(+slider.value));

  const frame = h(
    "div",
    {class: "viewer", id: "viewer"},
    h("div", {class: "controls"}, withTraces.length > 1 ? runSelect : null, domainBox, verdictSelect, planSelect),
    head,
    h(
      "div",
      {class: "viewer-grid"},
      h(
        "div",
        {},
        stage,
        h("div", {class: "transport"}, Object.values(buttons), slider, counter),
        status,
        remark("Keys: \u2190 \u2192 step, Home and End jump.")
      ),
      side
    )
  );
  frame.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input") || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = {ArrowLeft: state.position - 1, ArrowRight: state.position + 1, Home: 0, End: Infinity}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  section(spec, frame, told);
  chooseRun(withTraces[0]);
}
