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
    return h(
      "tr",
      {},
      h("td", {}, swatch(run.color), " ", run.name),
      h("td", {class: "left"}, badge(run)),
      h("td", {}, `${run.step}/${run.max_steps}`),
      h("td", {}, before ? percent(before.average) : "\u2013"),
      h("td", {}, after ? percent(after.average) : "\u2013"),
      before && after
        ? h("td", {class: direction(after.average - before.average)}, signed(100 * (after.average - before.average)))
        : h("td", {}, "\u2013"),
      after ? rateCell(after.all.successes, after.all.count) : h("td", {}, "\u2013"),
      now ? rateCell(now.won, now.all) : h("td", {}, "\u2013"),
      h("td", {}, duration(secondsTaken(run))),
      h("td", {}, String(run.alarms.filter((a) => a.level !== "note").length))
    );
  });
  const table = h(
    "div",
    {class: "scroll"},
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          [
            "run",
            "state",
            "steps",
            "held-out before",
            "after",
            "points",
            "solved at the end",
            "success in training, last tenth",
            "training time",
            "alarms",
          ].map((text, i) => h("th", {class: i === 1 ? "left" : null}, text))
        )
      ),
      h("tbody", {}, rows)
    )
  );
  section(
    "runs",
    "Runs",
    "Choose which runs the charts show. Held-out figures are means of the domains' rates; brackets are 95% Wilson intervals.",
    toggles,
    table
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

/* Held-out success measured during training: what steers the curriculum, on problems of its own. */
function duringTraining() {
  const runs = shown().filter((run) => run.outcomes.length);
  if (!runs.length) return null;
  const end = xEnd(RUNS);
  const names = DATA.domains.filter((name) => runs.some((run) => run.outcomes.some((one) => one.by_domain[name])));
  const points = (run, counts) =>
    run.outcomes
      .filter((one) => counts(one) && counts(one)[1])
      .map((one) => {
        const [won, all] = counts(one),
          [low, high] = wilson(won, all);
        return [one.step, won / all, low, high, `${percent(won / all)} ${interval(low, high)} ${won}/${all}`];
      });
  const averages = (run) =>
    run.outcomes
      .filter((one) => known(one.average))
      .map(({step, average, interval: span}) => [
        step,
        average,
        span.low,
        span.high,
        percent(average) + (known(span.low) ? ` ${interval(span.low, span.high)}` : ""),
      ]);
  const one = (title, pointsOf) =>
    panel(
      title,
      "",
      chart({
        label: `Held-out success during training, ${title}`,
        height: 150,
        xMax: end,
        yRange: [0, 1],
        format: (value) => percent(value, 0),
        series: runs.map((run) => ({
          name: several ? run.name : "held-out success",
          color: run.color,
          dash: run.dash,
          points: pointsOf(run),
        })),
      })
    );
  const sources = [...new Set(runs.map((run) => run.feedback).filter(Boolean))];
  return [
    h("h3", {}, "While training"),
    h(
      "p",
      {class: "soft small"},
      "Fewer problems, solved greedily every so many steps" + (sources.length ? ` (${sources.join("; ")})` : "") + "."
    ),
    runLegend(),
    h(
      "div",
      {class: "panels"},
      one("mean of domains", averages),
      names.map((name) => one(name, (run) => points(run, (outcome) => outcome.by_domain[name])))
    ),
  ];
}

/* pass@k over k: the chance that one of k drawn answers solves a problem, for evaluations that drew any. */
function passAtK(runs) {
  const drawn = runs.flatMap((run) =>
    run.evaluations.filter((e) => Object.keys(e.pass_at_k).length).map((e) => ({run, e}))
  );
  if (!drawn.length) return null;
  const names = DATA.domains.filter((name) => drawn.some(({e}) => e.pass_at_k[name]));
  const most = maximum(drawn.flatMap(({e}) => Object.values(e.pass_at_k).flatMap((all) => all.map((point) => point[0]))));
  const last = (run) => drawn.filter((one) => one.run === run).pop().e;
  return [
    h("h3", {}, "With several answers: pass@k"),
    h(
      "p",
      {class: "soft small"},
      "The chance that one of k drawn answers solves a problem (unbiased estimate; bands: 95% bootstrap over problems). Where it " +
        "rises well above k = 1, there is something to learn from. Dashed: earlier evaluations."
    ),
    runLegend(),
    h(
      "div",
      {class: "panels"},
      names.map((name) =>
        panel(
          name,
          "",
          chart({
            label: `pass@k in ${name}, by the number of answers k`,
            height: 150,
            xName: "k",
            xMax: most,
            yRange: [0, 1],
            format: (value) => percent(value, 0),
            series: drawn
              .filter(({e}) => e.pass_at_k[name])
              .map(({run, e}) => ({
                name: several ? `${run.name}, ${e.label}` : e.label,
                color: run.color,
                dash: e === last(run) ? run.dash : "4 3",
                dots: true,
                points: e.pass_at_k[name].map(([k, value, low, high]) => [
                  k,
                  value,
                  low,
                  high,
                  `${percent(value)} ${interval(low, high)}`,
                ]),
              })),
          })
        )
      )
    ),
  ];
}

function heldOut() {
  const host = live(h("div", {}), () => {
    const runs = shown().filter((run) => run.evaluations.length);
    const without = shown().filter((run) => !run.evaluations.length);
    const said = without.length
      ? empty(
          several
            ? `No held-out evaluation: ${without.map((run) => run.name).join(", ")}.`
            : RUNS[0].state === "finished"
              ? "This run has no held-out evaluation: it was started with --eval_samples 0."
              : "This run has no held-out evaluation yet."
        )
      : null;
    const during = duringTraining();
    if (!runs.length) return [said, during].flat();
    const domains = DATA.domains.filter((domain) =>
      runs.some((run) => run.evaluations.some((e) => e.rows.some((row) => row.domain === domain)))
    );
    const lines = domains.flatMap((domain) => runs.map((run) => ({domain, run})));
    const body = responsive((width) => {
      const left = width < 480 ? 86 : 110,
        right = 12,
        pitch = runs.length > 1 ? 20 : 34,
        gap = runs.length > 1 ? 14 : 0,
        top = 6;
      const X = (rate) => left + (width - left - right) * rate;
      const height = top + domains.length * (runs.length * pitch + gap) + 24;
      const svg = s("svg", {
        width,
        height,
        role: "img",
        "aria-label": "Held-out success by domain, before and after training; the table has the figures",
      });
      [0, 0.25, 0.5, 0.75, 1].forEach((tick) =>
        svg.append(
          s("line", {class: "grid", x1: X(tick), x2: X(tick), y1: top, y2: height - 20}),
          s(
            "text",
            {x: X(tick), y: height - 5, "text-anchor": tick === 1 ? "end" : tick === 0 ? "start" : "middle"},
            percent(tick, 0)
          )
        )
      );
      lines.forEach(({domain, run}, i) => {
        const group = Math.floor(i / runs.length),
          y = top + i * pitch + group * gap + pitch / 2 + gap / 2;
        if (i % runs.length === 0)
          svg.append(
            s(
              "text",
              {x: 0, y: y + 4 + ((runs.length - 1) * pitch) / 2, class: "direct", style: "fill:var(--ink)"},
              domain
            )
          );
        const found = run.evaluations
          .map((e) => ({e, row: e.rows.find((row) => row.domain === domain)}))
          .filter((pair) => pair.row && pair.row.count);
        found.forEach(({e, row}, k) => {
          const hollow = k < found.length - 1,
            off = found.length > 1 ? (k - (found.length - 1) / 2) * Math.min(9, (pitch / 2 / found.length) * 1.6) : 0;
          const color = hollow && !several ? "var(--soft)" : run.color;
          const mark = s(
            "g",
            {},
            s("line", {
              x1: X(row.low),
              x2: X(row.high),
              y1: y + off,
              y2: y + off,
              style: `stroke:${color}`,
              "stroke-width": 2,
              opacity: 0.55,
            }),
            s("circle", {
              cx: X(row.rate),
              cy: y + off,
              r: 4.2,
              style: `stroke:${color};fill:${hollow ? "var(--panel)" : color}`,
              "stroke-width": 1.8,
            }),
            s("rect", {
              x: X(row.low) - 6,
              width: X(row.high) - X(row.low) + 12,
              y: y + off - 6,
              height: 12,
              fill: "transparent",
            })
          );
          mark.addEventListener("pointermove", (event) =>
            showTip(event.clientX, event.clientY, `${domain}, ${e.label}`, [
              [color, several ? run.name : "success", percent(row.rate)],
              [null, "solved", `${row.successes}/${row.count}`],
              [null, "95%", interval(row.low, row.high)],
            ])
          );
          mark.addEventListener("pointerleave", hideTip);
          svg.append(mark);
        });
      });
      return svg;
    });
    const key = several
      ? [runLegend(), h("p", {class: "soft small"}, "Hollow: earlier evaluations. Filled: the last one.")]
      : legend(
          runs[0].evaluations.map((e, i, all) => [
            i < all.length - 1 ? "var(--soft)" : runs[0].color,
            `${e.label}, step ${e.step}`,
          ])
        );
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, "domain"),
            several ? h("th", {class: "left"}, "run") : null,
            several
              ? ["before", "after"].map((text) => h("th", {}, text))
              : runs[0].evaluations.map((e) => h("th", {}, e.label)),
            h("th", {}, "points")
          )
        ),
        h(
          "tbody",
          {},
          lines.map(({domain, run}) => {
            const all = several ? [first(run), final(run)] : run.evaluations;
            const rows = all.map((e) => e && e.rows.find((row) => row.domain === domain));
            const a = rows[0],
              b = rows[rows.length - 1];
            return h(
              "tr",
              {},
              h("td", {}, domain),
              several ? h("td", {class: "left"}, run.name) : null,
              rows.map((row) => (row ? rateCell(row.successes, row.count) : h("td", {}, "\u2013"))),
              rows.length > 1 && a && b && a !== b
                ? h("td", {class: direction(b.rate - a.rate)}, signed(100 * (b.rate - a.rate)))
                : h("td", {}, "\u2013")
            );
          })
        )
      )
    );
    const detail = runs.map((run) =>
      run.evaluations.map((e) =>
        h(
          "details",
          {},
          h("summary", {}, `${several ? run.name + ", " : ""}${e.label}: by difficulty and verdict`),
          h(
            "div",
            {class: "scroll"},
            h(
              "table",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  h("th", {}, "domain"),
                  DATA.buckets.map((b) => h("th", {}, b)),
                  h("th", {}, "with constraints"),
                  DATA.verdict_classes.map((v) => h("th", {}, word(v)))
                )
              ),
              h(
                "tbody",
                {},
                e.rows.map((row) =>
                  h(
                    "tr",
                    {},
                    h("td", {}, row.domain),
                    DATA.buckets.map((b) =>
                      row.buckets[b] ? rateCell(row.buckets[b].successes, row.buckets[b].count) : h("td", {}, "\u2013")
                    ),
                    row.constrained
                      ? rateCell(row.constrained.successes, row.constrained.count)
                      : h("td", {}, "\u2013"),
                    DATA.verdict_classes.map((v) => h("td", {}, String(row.verdicts[v])))
                  )
                )
              )
            )
          )
        )
      )
    );
    return [
      h("div", {class: "split"}, h("div", {}, key, h("figure", {class: "panel"}, body)), table),
      ...detail.flat(),
      passAtK(runs),
      said,
      during,
    ].flat();
  });
  const sources = [...new Set(RUNS.map((run) => run.held_out).filter(Boolean))];
  section(
    "heldout",
    "Held-out success",
    "Greedy answers to problems the model never trains on" +
      (sources.length ? ` (${sources.join("; ")})` : "") +
      ". Bars and brackets are 95% Wilson intervals.",
    host
  );
}

let metric = "success",
  by = "domain";
function learning() {
  const longest = Math.max(0, ...RUNS.map((run) => run.points.step.length));
  const pools = [0, 1, 2, 5, 10, 20, 50].filter((size) => size < 2 || size <= longest / 3);
  const controls = h(
    "div",
    {class: "controls"},
    segments(
      "Show",
      [
        ["success", "success rate"],
        ["reward", "reward"],
      ],
      () => metric,
      (value) => {
        metric = value;
      }
    ),
    segments(
      "by",
      [
        ["domain", "domain"],
        ["bucket", "difficulty"],
        ["cell", "domain \u00d7 difficulty"],
      ],
      () => by,
      (value) => {
        by = value;
      }
    ),
    segments(
      "Pool log lines",
      pools.map((size) => [size, size ? String(size) : "auto"]),
      () => pooling,
      (value) => {
        pooling = value;
      }
    )
  );
  const host = live(h("div", {}), () => {
    const runs = shown().filter(recorded);
    if (!runs.length) return empty("No step has been logged yet.");
    const reward = metric === "reward",
      end = xEnd(runs);
    if (by === "cell") {
      if (reward)
        return empty("Reward is recorded by domain and by difficulty, not by both at once. The success rate is.");
      if (!runs.some((run) => Object.keys(run.points.cells).length))
        return empty("This run did not record domain and difficulty together.");
      const domains = DATA.domains.filter((domain) => runs.some((run) => run.points.cells[domain]));
      return [
        runLegend(),
        domains.map((domain) => [
          h("h3", {}, domain),
          h(
            "div",
            {class: "panels three"},
            DATA.buckets.map((bucket) => {
              const there = runs.filter((run) => (run.points.cells[domain] || {})[bucket]);
              const total = sum(there.map((run) => sum(run.points.cells[domain][bucket].completions)));
              return panel(
                bucket,
                there.length ? `${figure(total)} completions` : "",
                there.length
                  ? chart({
                      label: `Success in ${domain}, ${bucket}`,
                      height: 140,
                      xMax: end,
                      yRange: [0, 1],
                      format: (value) => percent(value, 0),
                      series: there.map((run) => ({
                        name: several ? run.name : bucket,
                        color: run.color,
                        dash: run.dash,
                        points: ratePoints(
                          run,
                          run.points.cells[domain][bucket].successes,
                          run.points.cells[domain][bucket].completions
                        ),
                      })),
                    })
                  : h("p", {class: "soft small"}, `No ${bucket} ${domain} problem was drawn.`)
              );
            })
          ),
        ]),
      ].flat(2);
    }
    const key = by === "domain" ? "by_domain" : "by_bucket";
    const names = (by === "domain" ? DATA.domains : DATA.buckets).filter((name) =>
      runs.some((run) => run.points[key][name])
    );
    if (!names.length) return empty("No completion has been judged yet.");
    const rewards = reward
      ? runs.flatMap((run) =>
          names.flatMap((name) =>
            run.points[key][name]
              ? meanPoints(run, run.points[key][name].reward_sum, run.points[key][name].completions).map((p) => p[1])
              : []
          )
        )
      : [];
    const yRange = reward
      ? [Math.max(-1, Math.floor(minimum(rewards, 0) * 5) / 5), Math.min(1, Math.ceil(maximum(rewards, 0.2) * 5) / 5)]
      : [0, 1];
    const panels = h(
      "div",
      {class: "panels"},
      names.map((name) => {
        const there = runs.filter((run) => run.points[key][name]);
        const series = there.map((run) => ({
          name: several ? run.name : reward ? "reward" : "success",
          color: run.color,
          dash: run.dash,
          points: reward
            ? meanPoints(run, run.points[key][name].reward_sum, run.points[key][name].completions)
            : ratePoints(run, run.points[key][name].successes, run.points[key][name].completions),
        }));
        const marks = reward
          ? []
          : there.flatMap((run) =>
              run.evaluations
                .map((e, i, all) => {
                  const row = by === "domain" ? e.rows.find((one) => one.domain === name) : e.buckets[name];
                  return row && row.count
                    ? {
                        x: Math.min(e.step, end),
                        y: row.rate,
                        low: row.low,
                        high: row.high,
                        color: several ? run.color : "var(--ink)",
                        hollow: i < all.length - 1,
                        name: `${several ? run.name + ", " : ""}held-out ${e.label}`,
                        text: `${percent(row.rate)} ${interval(row.low, row.high)} ${row.successes}/${row.count}`,
                      }
                    : null;
                })
                .filter(Boolean)
            );
        const latest = series[0].points[series[0].points.length - 1];
        return panel(
          name,
          !several && latest ? (reward ? figure(latest[1]) : percent(latest[1], 0)) : "",
          chart({
            label: `${reward ? "Reward" : "Success rate"}, ${name}`,
            series,
            marks,
            xMax: end,
            yRange,
            format: reward ? figure : (value) => percent(value, 0),
          })
        );
      })
    );
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h(
          "caption",
          {},
          reward
            ? "Mean reward in the first and the last tenth of the log."
            : "Success in the first and the last tenth of the log, 95% intervals."
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, by === "domain" ? "domain" : "difficulty"),
            several ? h("th", {class: "left"}, "run") : null,
            several
              ? ["first tenth", "last tenth"].map((text) => h("th", {}, text))
              : tenths(runs[0]).map((part) => h("th", {}, windowText(runs[0], part))),
            h("th", {}, reward ? "change" : "points")
          )
        ),
        h(
          "tbody",
          {},
          names.flatMap((name) =>
            runs
              .filter((run) => run.points[key][name])
              .map((run) => {
                const own = run.points[key][name];
                const parts = tenths(run).map(([from, to]) => ({
                  won: sum(own.successes.slice(from, to)),
                  all: sum(own.completions.slice(from, to)),
                  reward: sum(own.reward_sum.slice(from, to)),
                }));
                const [a, b] = parts,
                  both = a.all && b.all;
                const change = both
                  ? reward
                    ? b.reward / b.all - a.reward / a.all
                    : 100 * (b.won / b.all - a.won / a.all)
                  : null;
                return h(
                  "tr",
                  {},
                  h("td", {}, name),
                  several ? h("td", {class: "left"}, run.name) : null,
                  parts.map((part) =>
                    reward
                      ? h(
                          "td",
                          {},
                          part.all ? figure(part.reward / part.all) : "\u2013",
                          h("span", {class: "of"}, `${part.all} completions`)
                        )
                      : rateCell(part.won, part.all)
                  ),
                  h(
                    "td",
                    {class: direction(change)},
                    both
                      ? reward
                        ? (change >= 0 ? "+" : "\u2212") + Math.abs(change).toFixed(2)
                        : signed(change)
                      : "\u2013"
                  )
                );
              })
          )
        )
      )
    );
    const diamonds =
      !reward && runs.some((run) => run.evaluations.length)
        ? h(
            "p",
            {class: "soft small"},
            "Diamonds: greedy success on held-out problems with its interval; hollow for earlier evaluations, filled for the last."
          )
        : null;
    const caution = reward
      ? "Reward lies in [\u22121, 1]; a plan that reaches the goal earns 1, every failure less than 0."
      : "Bands: 95% Wilson intervals that take completions as independent. Those of one prompt are not, so the bands are somewhat too narrow.";
    return [
      runLegend(),
      h("div", {class: "split"}, h("div", {}, panels, diamonds, h("p", {class: "soft small"}, caution)), table),
    ];
  });
  section(
    "learning",
    "Learning curves",
    "Sampled completions during training, judged by the validator.",
    controls,
    host
  );
}

/* What a curriculum that learns from the run says of itself. */
const CURRICULUM_FIGURES = {
  latest_performance: ["Latest held-out success", (value) => percent(value, 0)],
  evaluation_count: ["Evaluations so far", figure],
  stage_number: ["Stage", figure],
  collapsed_domains: ["Collapsed domains", figure],
  rollbacks: ["Rollbacks", figure],
};
function curriculumFigures(run) {
  const p = run.points;
  const line = (values, name, color) => ({
    name,
    color,
    step: true,
    points: p.step.map((step, i) => [step, values[i]]).filter(([, y]) => known(y)),
  });
  const single = Object.entries(p.curriculum)
    .filter(([, values]) => values.some(known))
    .map(([key, values]) => {
      const [title, format] = CURRICULUM_FIGURES[key] || [word(key), figure];
      const yRange = format === figure ? [0, Math.max(1, maximum(values))] : [0, 1];
      return panel(
        title,
        "",
        chart({
          label: title,
          height: 130,
          xMax: xEnd([run]),
          yRange,
          format,
          series: [line(values, title, "var(--c0)")],
        })
      );
    });
  const spread = Object.entries(p.expected_spread).map(([domain, buckets]) =>
    panel(
      `Expected reward spread, ${domain}`,
      "",
      chart({
        label: `Expected reward spread, ${domain}`,
        height: 130,
        xMax: xEnd([run]),
        series: Object.entries(buckets).map(([bucket, values]) => line(values, bucket, `var(--${bucket})`)),
      })
    )
  );
  const stages = p.stages.length
    ? h("p", {}, "Stages: " + p.stages.map(([step, name]) => `${name} (from step ${step})`).join(", ") + ".")
    : null;
  if (!single.length && !spread.length && !stages) return null;
  return h(
    "div",
    {style: "margin-top:1rem"},
    stages,
    single.length ? h("div", {class: "panels three"}, single) : null,
    spread.length
      ? [
          h("h3", {}, "Where the curriculum expects something to learn"),
          legend(DATA.buckets.map((bucket) => [`var(--${bucket})`, bucket, ""])),
          h("div", {class: "panels three"}, spread),
        ]
      : null
  );
}

function curriculum() {
  const body = perRun((run) => {
    const p = run.points,
      names = DATA.buckets.filter((name) => p.weights[name] || p.prompts_by_bucket[name]);
    if (!names.length) return empty("No curriculum has been logged yet.");
    const all = p.step.map((_, i) => sum(DATA.buckets.map((b) => p.prompts_by_bucket[b] && p.prompts_by_bucket[b][i])));
    const panels = h(
      "div",
      {class: "panels three"},
      names.map((name) => {
        const target = p.weights[name] ? p.step.map((step, i) => [step, p.weights[name][i] ?? 0]) : [];
        if (target.length && target[0][0] > 0) target.unshift([Math.max(0, target[0][0] - 1), target[0][1]]);
        const target2 = target.map(([x, y]) => [x, y, null, null, percent(y)]);
        return panel(
          name,
          "",
          chart({
            label: `Curriculum weight and realised share, ${name}`,
            height: 150,
            xMax: xEnd([run]),
            yRange: [0, 1],
            format: (value) => percent(value, 0),
            series: [
              {
                name: "realised",
                color: `var(--c1)`,
                dots: true,
                width: 1,
                points: p.prompts_by_bucket[name] ? ratePoints(run, p.prompts_by_bucket[name], all) : [],
              },
              {name: "weight", color: "var(--c0)", step: true, width: 2.4, points: target2},
            ],
          })
        );
      })
    );
    const total = sum(all);
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h("caption", {}, "Over the whole log."),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["difficulty", "mean weight", "realised share"].map((text) => h("th", {}, text))
          )
        ),
        h(
          "tbody",
          {},
          names.map((name) =>
            h(
              "tr",
              {},
              h("td", {}, name),
              h("td", {}, p.weights[name] ? percent(mean(p.weights[name].map((v) => v ?? 0))) : "\u2013"),
              p.prompts_by_bucket[name] ? rateCell(sum(p.prompts_by_bucket[name]), total) : h("td", {}, "\u2013")
            )
          )
        )
      )
    );
    const buckets = Object.entries(run.configuration.buckets);
    const pools = buckets.length
      ? h(
          "div",
          {class: "scroll", style: "margin-top:1rem"},
          h(
            "table",
            {},
            h("caption", {}, "Training problems in each bucket: what there is to draw from."),
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", {}, "domain"),
                DATA.buckets.map((b) => h("th", {}, b)),
                h("th", {}, "p40"),
                h("th", {}, "p80")
              )
            ),
            h(
              "tbody",
              {},
              buckets.map(([domain, found]) =>
                h(
                  "tr",
                  {},
                  h("td", {}, domain),
                  DATA.buckets.map((b) => h("td", {}, String(found.counts[b] ?? "\u2013"))),
                  h("td", {}, figure(found.p40)),
                  h("td", {}, figure(found.p80))
                )
              )
            )
          )
        )
      : null;
    return h(
      "div",
      {class: "split"},
      h(
        "div",
        {},
        legend([
          ["var(--c0)", "weight the curriculum asks for", ""],
          ["var(--c1)", "realised share of prompts, 95% interval", ""],
        ]),
        panels,
        curriculumFigures(run)
      ),
      h("div", {}, table, pools)
    );
  });
  section(
    "curriculum",
    "Curriculum",
    "The weights under which each batch was drawn, and the difficulties that were really in it.",
    body
  );
}

function batches() {
  const body = perRun((run) => {
    const p = run.points,
      names = Object.keys(p.prompts_by_domain);
    if (!names.length) return empty("No batch has been logged yet.");
    const totals = p.step.map((_, i) => sum(names.map((name) => p.prompts_by_domain[name][i])));
    const color = (name) => `var(--c${DATA.domains.indexOf(name) % 6})`;
    const series = names.map((name) => ({
      name,
      color: color(name),
      points: p.step.map((step, i) => {
        const n = p.prompts_by_domain[name][i];
        return [
          step,
          totals[i] ? (n || 0) / totals[i] : null,
          null,
          null,
          totals[i] ? `${percent((n || 0) / totals[i])} ${n || 0}/${totals[i]}` : null,
        ];
      }),
    }));
    const fewest = (name) => (p.fewest_per_batch[name] ? minimum(p.fewest_per_batch[name], Infinity) : null),
      most = (name) => (p.most_per_batch[name] ? maximum(p.most_per_batch[name]) : null);
    const counted = names.every((name) => known(fewest(name)));
    const constant = counted && names.every((name) => fewest(name) === most(name));
    const equal = constant && new Set(names.map(fewest)).size === 1;
    const one = names.length === 1;
    const said = equal
      ? `Every batch held exactly ${fewest(names[0])} prompts of ${one ? "its domain" : `each of the ${names.length} domains`}.`
      : constant
        ? "Every batch held exactly the same number of prompts of a domain: " +
          names.map((name) => `${name} ${fewest(name)}`).join(", ") +
          "."
        : counted
          ? "The numbers moved during the run: by adaptive quotas, by a domain that was given more, or by groups that were drawn anew."
          : "Shares of the completions; this run did not record the prompts of single batches.";
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["domain", "share", "fewest in a batch", "most"].map((text) => h("th", {}, text))
          )
        ),
        h(
          "tbody",
          {},
          names.map((name) =>
            h(
              "tr",
              {},
              h("td", {}, swatch(color(name)), " ", name),
              h(
                "td",
                {},
                percent(sum(p.prompts_by_domain[name]) / (sum(totals) || 1)),
                h("span", {class: "of"}, `${sum(p.prompts_by_domain[name])}/${sum(totals)}`)
              ),
              h("td", {}, figure(fewest(name))),
              h("td", {}, figure(most(name)))
            )
          )
        )
      )
    );
    return h(
      "div",
      {class: "split"},
      h(
        "div",
        {},
        legend(names.map((name) => [color(name), name])),
        panel(
          "Share of prompts by domain",
          "each log line",
          chart({
            label: "Domain shares of each batch",
            series,
            stack: true,
            xMax: xEnd([run]),
            yRange: [0, 1],
            height: 190,
            format: (value) => percent(value, 0),
          })
        ),
        h("p", {}, said)
      ),
      table
    );
  });
  section(
    "batches",
    "Domains in each batch",
    "Every batch owes every domain its quota of prompts: the same number, unless the run weighted its domains.",
    body
  );
}

function verdicts() {
  const order = [
    "success_plans",
    "goal_not_satisfied",
    "safety_constraints_violation",
    "precondition_violation",
    "plan_format_error",
  ];
  const body = perRun((run) => {
    const p = run.points,
      names = [
        ...order.filter((name) => p.verdicts[name]),
        ...Object.keys(p.verdicts).filter((name) => !order.includes(name)),
      ];
    if (!names.length) return empty("No verdict has been logged yet.");
    const color = (name) => `var(--v-${name}, var(--c5))`;
    const parts = windows(run, poolSize(run));
    const series = names.map((name) => ({
      name: word(name),
      color: color(name),
      points: parts.map(([from, to]) => {
        const n = sum(p.verdicts[name].slice(from, to)),
          all = sum(names.map((one) => sum(p.verdicts[one].slice(from, to))));
        return [p.step[to - 1], all ? n / all : null, null, null, all ? `${percent(n / all)} ${n}/${all}` : null];
      }),
    }));
    const columns = tenths(run);
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, "verdict"),
            columns.map((part) => h("th", {}, windowText(run, part)))
          )
        ),
        h(
          "tbody",
          {},
          names.map((name) =>
            h(
              "tr",
              {},
              h("td", {}, swatch(color(name)), " ", word(name)),
              columns.map(([from, to]) =>
                rateCell(
                  sum(p.verdicts[name].slice(from, to)),
                  sum(names.map((one) => sum(p.verdicts[one].slice(from, to))))
                )
              )
            )
          )
        )
      )
    );
    return h(
      "div",
      {class: "split"},
      h(
        "div",
        {},
        legend(names.map((name) => [color(name), word(name)])),
        panel(
          "Share of completions by verdict",
          "",
          chart({
            label: "Verdict classes over time",
            series,
            stack: true,
            xMax: xEnd([run]),
            yRange: [0, 1],
            height: 210,
            format: (value) => percent(value, 0),
          })
        )
      ),
      table
    );
  });
  section(
    "verdicts",
    "Verdicts",
    "What became of the sampled plans. A failed plan is counted once, by the first thing that went wrong.",
    body
  );
}

function course() {
  const figures = [
    ["completion_length_mean", "Completion length", "tokens", true],
    ["completions_cut_off", "Cut off at the limit", "share", false],
    ["entropy", "Entropy", "nats per token", false],
    ["mixed_groups", "Groups that differ in reward", "share", false],
    ["resampled_groups", "Groups drawn anew", "share", false],
    ["reward", "Reward", "mean", false],
    ["kl", "KL to the starting model", "nats", false],
    ["loss", "Loss", "", false],
    ["grad_norm", "Gradient norm", "", false],
    ["learning_rate", "Learning rate", "", false],
  ];
  const shares = new Set(["completions_cut_off", "mixed_groups", "resampled_groups"]);
  const host = live(h("div", {}), () => {
    const runs = shown().filter(recorded);
    const found = figures.filter(([name]) => runs.some((run) => run.points[name] && run.points[name].some(known)));
    if (!found.length) return empty("No figures of this kind have been logged yet.");
    const table = h(
      "details",
      {},
      h("summary", {}, "The same figures as a table"),
      h(
        "div",
        {class: "scroll"},
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", {}, "figure"),
              several ? h("th", {class: "left"}, "run") : null,
              ["first tenth", "last tenth", "lowest", "highest"].map((text) => h("th", {}, text))
            )
          ),
          h(
            "tbody",
            {},
            found.flatMap(([name, title]) =>
              runs
                .filter((run) => run.points[name])
                .map((run) => {
                  const values = run.points[name];
                  return h(
                    "tr",
                    {},
                    h("td", {}, title),
                    several ? h("td", {class: "left"}, run.name) : null,
                    tenths(run).map(([a, b]) => h("td", {}, figure(mean(values.slice(a, b))))),
                    h("td", {}, figure(minimum(values, Infinity))),
                    h("td", {}, figure(maximum(values, -Infinity)))
                  );
                })
            )
          )
        )
      )
    );
    return [
      runLegend(),
      h(
        "div",
        {class: "panels"},
        found.map(([name, title, unit, band]) =>
          panel(
            title,
            unit,
            chart({
              label: title,
              xMax: xEnd(runs),
              yRange: shares.has(name) ? [0, 1] : undefined,
              height: 150,
              format: shares.has(name) ? (value) => percent(value, 0) : figure,
              series: runs
                .filter((run) => run.points[name])
                .map((run) => {
                  const parts = windows(run, poolSize(run)),
                    p = run.points;
                  return {
                    name: several ? run.name : title.toLowerCase(),
                    color: run.color,
                    dash: run.dash,
                    points: parts
                      .map(([a, b]) => {
                        const value = mean(p[name].slice(a, b));
                        const low =
                            band && p.completion_length_min
                              ? minimum(p.completion_length_min.slice(a, b), Infinity)
                              : null,
                          high =
                            band && p.completion_length_max ? maximum(p.completion_length_max.slice(a, b), 0) : null;
                        const text = shares.has(name)
                          ? percent(value)
                          : figure(value) +
                            (known(low) && known(high) && isFinite(low) ? `, ${figure(low)} to ${figure(high)}` : "");
                        return known(value)
                          ? [p.step[b - 1], value, several || !known(low) ? null : low, several ? null : high, text]
                          : null;
                      })
                      .filter(Boolean),
                  };
                }),
            })
          )
        )
      ),
      several
        ? null
        : h("p", {class: "soft small"}, "The band of the completion length reaches from the shortest to the longest."),
      table,
      ...runs.map(idleGroups),
    ].flat();
  });
  section("course", "Lengths, entropy and the update", "Pooled like the learning curves.", host);
}

/* The share of groups that taught nothing, by domain: of one run, where it was recorded. */
function idleGroups(run) {
  const found = run.points.zero_variance_by_domain;
  const names = Object.keys(found);
  if (!names.length) return null;
  const color = (name) => `var(--c${DATA.domains.indexOf(name) % 6})`;
  return [
    h("h3", {}, several ? `${run.name}: groups with equal rewards` : "Groups with equal rewards, by domain"),
    legend(names.map((name) => [color(name), name, ""])),
    h(
      "div",
      {class: "panels"},
      panel(
        "Share of groups that teach nothing",
        "",
        chart({
          label: "Share of groups with equal rewards, by domain",
          xMax: xEnd([run]),
          yRange: [0, 1],
          format: (value) => percent(value, 0),
          series: names.map((name) => ({name, color: color(name), points: meanPoints(run, found[name])})),
        })
      )
    ),
  ];
}

function timing() {
  const colors = {
    generation: "var(--c0)",
    log_probs: "var(--c2)",
    backward: "var(--c1)",
    reward: "var(--c3)",
    checkpoint: "var(--c4)",
    sampling: "var(--easy)",
    logging: "var(--hard)",
    evaluation: "var(--v-goal_not_satisfied)",
    other: "var(--c5)",
  };
  const color = (name) => colors[name] || "var(--c3)";
  const body = perRun((run) => {
    const p = run.points,
      names = DATA.timings.filter((name) => p.seconds[name]);
    if (!names.length) return empty("No timings have been logged yet.");
    const spans = p.step.map((step, i) => step - (i ? p.step[i - 1] : 0));
    const average = (name) => {
      const there = p.seconds[name].map((v, i) => (known(v) ? [v, spans[i]] : null)).filter(Boolean);
      return sum(there.map(([v, n]) => v * n)) / (sum(spans) || 1);
    };
    const total = sum(names.map(average));
    const parts = windows(run, poolSize(run));
    const series = names.map((name) => ({
      name: word(name),
      color: color(name),
      points: parts.map(([a, b]) => {
        const value = Math.max(
          0,
          sum(p.seconds[name].slice(a, b).map((v, i) => (v || 0) * spans[a + i])) / (sum(spans.slice(a, b)) || 1)
        );
        return [p.step[b - 1], value, null, null, duration(value)];
      }),
    }));
    const table = h(
      "div",
      {class: "scroll"},
      h(
        "table",
        {},
        h("caption", {}, "Mean over the run."),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["part of a step", "seconds", "share"].map((text) => h("th", {}, text))
          )
        ),
        h(
          "tbody",
          {},
          names.map((name) =>
            h(
              "tr",
              {},
              h("td", {}, swatch(color(name)), " ", word(name)),
              h("td", {}, average(name).toFixed(average(name) < 0.1 ? 4 : 2)),
              h("td", {}, percent(average(name) / total))
            )
          ),
          h("tr", {}, h("td", {}, h("b", {}, "whole step")), h("td", {}, total.toFixed(2)), h("td", {}, ""))
        )
      )
    );
    return h(
      "div",
      {class: "split"},
      h(
        "div",
        {},
        legend(names.map((name) => [color(name), word(name)])),
        panel(
          "Seconds per step",
          "",
          chart({
            label: "Seconds per step by part",
            series,
            stack: true,
            xMax: xEnd([run]),
            height: 200,
            format: (value) => figure(value) + " s",
          })
        )
      ),
      table
    );
  });
  section("timing", "Where the time goes", "Seconds of an optimizer step. Nested parts are not counted twice.", body);
}
function configuration() {
  const names = [...new Set(RUNS.flatMap((run) => Object.keys(run.configuration.settings)))];
  if (!names.length) {
    section(
      "configuration",
      "Configuration",
      null,
      empty("resolved_config.json is missing or still being written: the settings are not known.")
    );
    return;
  }
  let only = several ? "differences" : "set",
    sought = "";
  const isSet = (run, name) => !/^built-in default/.test(run.configuration.sources[name] || "built-in default");
  const host = h("div", {class: "scroll"});
  const draw = () => {
    const rows = names.filter((name) => {
      const values = RUNS.map((run) => run.configuration.settings[name]);
      const differs = new Set(values).size > 1;
      return (
        (only === "all" || (only === "differences" ? differs : RUNS.some((run) => isSet(run, name)))) &&
        (name + " " + values.join(" ")).toLowerCase().includes(sought)
      );
    });
    host.replaceChildren(
      rows.length
        ? h(
            "table",
            {class: several ? "words" : "words settings"},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", {}, "setting"),
                RUNS.map((run) => (several ? h("th", {}, run.name) : [h("th", {}, "value"), h("th", {}, "from")]))
              )
            ),
            h(
              "tbody",
              {},
              rows.map((name) =>
                h(
                  "tr",
                  {
                    class:
                      several && new Set(RUNS.map((run) => run.configuration.settings[name])).size > 1
                        ? "differs"
                        : null,
                  },
                  h("td", {class: "code"}, name),
                  RUNS.map((run) => [
                    h("td", {}, run.configuration.settings[name] ?? "\u2013"),
                    several ? null : h("td", {class: "soft"}, run.configuration.sources[name] || ""),
                  ])
                )
              )
            )
          )
        : empty(only === "differences" ? "The runs have the same settings." : "No setting matches.")
    );
  };
  const choices = several
    ? [
        ["differences", "differences"],
        ["all", "all"],
      ]
    : [
        ["set", "not left to the built-in default"],
        ["all", "all"],
      ];
  const controls = h(
    "div",
    {class: "controls"},
    segments(
      "Settings",
      choices,
      () => only,
      (value) => {
        only = value;
        draw();
      }
    ),
    h(
      "label",
      {class: "group"},
      h("span", {}, "Find"),
      h("input", {
        type: "search",
        "aria-label": "Find a setting",
        oninput: (event) => {
          sought = event.target.value.toLowerCase();
          draw();
        },
      })
    )
  );
  draw();
  const more = RUNS.map((run) => {
    const c = run.configuration;
    const pairs = (title, object) =>
      Object.keys(object).length
        ? [
            h("h3", {}, title),
            h(
              "div",
              {class: "scroll"},
              h(
                "table",
                {class: "words"},
                h(
                  "tbody",
                  {},
                  Object.entries(object).map(([name, value]) =>
                    h("tr", {}, h("td", {}, name), h("td", {class: "code"}, value))
                  )
                )
              )
            ),
          ]
        : null;
    return h(
      "details",
      {},
      h("summary", {}, several ? `${run.name}: command line, schedule, versions` : "Command line, schedule, versions"),
      c.command_line ? [h("h3", {}, "Command line"), h("pre", {}, c.command_line)] : null,
      c.schedule ? [h("h3", {}, "Curriculum schedule"), h("pre", {}, c.schedule)] : null,
      pairs("Reward", c.reward),
      pairs("Environment", c.environment),
      pairs("Fingerprints", c.fingerprints)
    );
  });
  section(
    "configuration",
    "Configuration",
    "Every setting as it was resolved, and where its value came from.",
    controls,
    host,
    ...more
  );
}
