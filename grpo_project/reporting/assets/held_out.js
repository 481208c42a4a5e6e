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
  const most = maximum(
    drawn.flatMap(({e}) => Object.values(e.pass_at_k).flatMap((all) => all.map((point) => point[0])))
  );
  const newest = (run) => drawn.filter((one) => one.run === run).pop().e;
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
                dash: e === newest(run) ? run.dash : "4 3",
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
    const rates = table(
      ["domain", ...runHead(), ...(several ? ["before", "after"] : runs[0].evaluations.map((e) => e.label)), "points"],
      lines.map(({domain, run}) => {
        const all = several ? [first(run), final(run)] : run.evaluations;
        const rows = all.map((e) => e && e.rows.find((row) => row.domain === domain));
        const a = rows[0],
          b = rows[rows.length - 1];
        return [
          domain,
          ...runCell(run),
          ...rows.map((row) => row && rateCell(row.successes, row.count)),
          a && b && a !== b ? td(direction(b.rate - a.rate), signed(100 * (b.rate - a.rate))) : null,
        ];
      })
    );
    const detail = runs.map((run) =>
      run.evaluations.map((e) =>
        h(
          "details",
          {},
          h("summary", {}, `${several ? run.name + ", " : ""}${e.label}: by difficulty and verdict`),
          table(
            ["domain", ...DATA.buckets, "with constraints", ...DATA.verdict_classes.map(word)],
            e.rows.map((row) => [
              row.domain,
              ...DATA.buckets.map((b) => row.buckets[b] && rateCell(row.buckets[b].successes, row.buckets[b].count)),
              row.constrained && rateCell(row.constrained.successes, row.constrained.count),
              ...DATA.verdict_classes.map((v) => row.verdicts[v]),
            ])
          )
        )
      )
    );
    return [
      h("div", {class: "split"}, h("div", {}, key, h("figure", {class: "panel"}, body)), rates),
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
