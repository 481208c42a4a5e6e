/* ---- head ---- */
const recorded = (run) => run.points.step.length > 0;
const last = (run, label) => run.evaluations.filter((e) => e.label === label).pop();
const first = (run) => last(run, "before") || (run.evaluations.length > 1 ? run.evaluations[0] : null);
const final = (run) => last(run, "after") || run.evaluations.filter((e) => e.label !== "before").pop();
function badge(run) {
  const text =
    {finished: "finished", "in progress": "in progress", stopped: "stopped", starting: "no step logged yet"}[
      run.state
    ] || run.state;
  return h("span", {class: "badge " + (run.state === "in progress" ? "progress" : run.state)}, text);
}
function tile(label, value, under, share) {
  return h(
    "div",
    {class: "tile"},
    h("div", {class: "label"}, label),
    h("div", {class: "value"}, value),
    h("div", {class: "under"}, under),
    known(share)
      ? h(
          "div",
          {class: "meter", "aria-hidden": "true"},
          h("i", {style: `width:${(100 * Math.min(1, share)).toFixed(1)}%`})
        )
      : null
  );
}
function secondsTaken(run) {
  const total = run.points.seconds.total;
  return total
    ? sum(
        run.points.step.map((step, i) => (known(total[i]) ? total[i] * (step - (i ? run.points.step[i - 1] : 0)) : 0))
      )
    : null;
}
function lastSuccess(run) {
  const parts = tenths(run);
  if (!parts) return null;
  const [from, to] = parts[1],
    won = sum(run.points.successes.slice(from, to)),
    all = sum(run.points.completions.slice(from, to));
  return all ? {won, all, text: windowText(run, parts[1])} : null;
}
function drawHead() {
  const head = document.getElementById("head");
  const run = RUNS[0];
  head.append(h("h1", {}, DATA.title));
  if (several) {
    head.append(h("p", {class: "soft"}, `${RUNS.length} training runs side by side. Written ${DATA.written}.`));
    return;
  }
  const age =
    run.state === "in progress" || run.state === "stopped"
      ? `, last line ${duration(run.seconds_since_last_line)} before`
      : "";
  head.append(
    h("p", {class: "soft"}, badge(run), " ", h("span", {class: "code"}, run.path), `. Written ${DATA.written}${age}.`)
  );
  const before = first(run),
    after = final(run),
    now = lastSuccess(run),
    taken = secondsTaken(run);
  const tiles = h("div", {class: "tiles"});
  if (after)
    tiles.append(
      tile(
        "Held-out success, mean of domains",
        before ? `${percent(before.average)} \u2192 ${percent(after.average)}` : percent(after.average),
        before
          ? `${signed(100 * (after.average - before.average))} points; ${after.all.successes}/${after.all.count} solved ${interval(after.all.low, after.all.high)}`
          : `${after.all.successes}/${after.all.count} solved ${interval(after.all.low, after.all.high)}`
      )
    );
  else
    tiles.append(
      tile(
        "Held-out success",
        before ? percent(before.average) : "not measured",
        before
          ? `before training, ${before.all.successes}/${before.all.count}; the end is still to come`
          : "this run has no held-out evaluation"
      )
    );
  tiles.append(
    tile(
      "Success in training",
      now ? percent(now.won / now.all) : "\u2013",
      now ? `${now.text}, ${now.won}/${now.all} ${interval(...wilson(now.won, now.all))}` : "no completions logged yet"
    )
  );
  const left =
    run.state === "in progress" && taken && run.step
      ? `about ${duration((taken / run.step) * (run.max_steps - run.step))} left`
      : taken
        ? `${duration(taken)} of training, ${duration(taken / run.step)} per step`
        : "";
  tiles.append(tile("Steps", `${run.step} of ${run.max_steps}`, left, run.max_steps ? run.step / run.max_steps : 0));
  const count = (level) => run.alarms.filter((alarm) => alarm.level === level).length;
  const serious = count("error") + count("warning");
  tiles.append(
    tile(
      "Alarms",
      serious ? String(serious) : "none",
      serious
        ? `${counted(count("error"), "error")}, ${counted(count("warning"), "warning")}`
        : count("note")
          ? counted(count("note"), "note")
          : "nothing out of the ordinary"
    )
  );
  head.append(tiles);
}

/* ---- sections ---- */
const direction = (change) => (change > 0 ? "up" : change < 0 ? "down" : null);
const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
const SECTIONS = [];
const SHORT = {batches: "Batches", course: "Lengths and entropy", timing: "Time"}; // in the bar
function section(id, title, about, ...body) {
  SECTIONS.push([id, SHORT[id] || title]);
  document
    .getElementById("page")
    .append(
      h(
        "section",
        {id, "aria-labelledby": id + "-title"},
        h("h2", {id: id + "-title"}, title),
        about ? h("p", {class: "soft"}, about) : null,
        ...body
      )
    );
}
/* Where several runs share a table, a column says which one a row is of. */
const runHead = () => (several ? [th("left", "run")] : []);
const runCell = (run) => (several ? [td("left", run.name)] : []);
function perRun(draw) {
  return live(h("div", {}), () =>
    shown().map((run) => h("div", {}, several ? h("h3", {}, swatch(run.color), " ", run.name) : null, draw(run)))
  );
}

function overview() {
  if (!several) return;
  const toggles = h(
    "div",
    {class: "controls", role: "group", "aria-label": "Runs shown"},
    RUNS.map((run) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": "true",
          onclick: (event) => {
            if (run.shown && shown().length === 1) return;
            run.shown = !run.shown;
            event.currentTarget.setAttribute("aria-pressed", String(run.shown));
            redraw();
          },
        },
        swatch(run.color),
        run.name
      )
    )
  );
  const rows = RUNS.map((run) => {
    const before = first(run),
      after = final(run),
      now = lastSuccess(run);
    const gain = before && after ? after.average - before.average : null;
    return [
      [swatch(run.color), " ", run.name],
      td("left", badge(run)),
      `${run.step}/${run.max_steps}`,
      before && percent(before.average),
      after && percent(after.average),
      gain === null ? null : td(direction(gain), signed(100 * gain)),
      after && rateCell(after.all.successes, after.all.count),
      now && rateCell(now.won, now.all),
      duration(secondsTaken(run)),
      run.alarms.filter((alarm) => alarm.level !== "note").length,
    ];
  });
  const runTable = table(
    [
      "run",
      th("left", "state"),
      "steps",
      "held-out before",
      "after",
      "points",
      "solved at the end",
      "success in training, last tenth",
      "training time",
      "alarms",
    ],
    rows
  );
  section(
    "runs",
    "Runs",
    "Choose which runs the charts show. Held-out figures are means of the domains' rates; brackets are 95% Wilson intervals.",
    toggles,
    runTable
  );
}

function alarmSection() {
  const body = perRun((run) => {
    const serious = run.alarms.filter((alarm) => alarm.level !== "note"),
      notes = run.alarms.filter((alarm) => alarm.level === "note");
    const draw = (alarm) =>
      h(
        "div",
        {class: "alarm " + alarm.level},
        h("b", {}, alarm.title),
        known(alarm.step) ? h("span", {class: "where"}, ` \u00b7 step ${alarm.step}`) : null,
        alarm.detail ? h("div", {}, alarm.detail) : null
      );
    const told = serious.length
      ? serious.map(draw)
      : h(
          "p",
          {class: "soft"},
          recorded(run)
            ? "No alarm: figures are finite, batches equal, groups differ in reward, completions end by themselves."
            : "No log line to check yet."
        );
    return [
      told,
      notes.length
        ? h(
            "details",
            {},
            h("summary", {}, `${notes.length} ${notes.length === 1 ? "note" : "notes"}`),
            notes.map(draw)
          )
        : null,
    ];
  });
  section("alarms", "Alarms", null, body);
}
