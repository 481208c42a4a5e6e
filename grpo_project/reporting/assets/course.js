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
    const verdictTable = table(
      ["verdict", ...columns.map((part) => windowText(run, part))],
      names.map((name) => [
        [swatch(color(name)), " ", word(name)],
        ...columns.map(([from, to]) =>
          rateCell(sum(p.verdicts[name].slice(from, to)), sum(names.map((one) => sum(p.verdicts[one].slice(from, to)))))
        ),
      ])
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
      verdictTable
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
    const asTable = h(
      "details",
      {},
      h("summary", {}, "The same figures as a table"),
      table(
        ["figure", ...runHead(), "first tenth", "last tenth", "lowest", "highest"],
        found.flatMap(([name, title]) =>
          runs
            .filter((run) => run.points[name])
            .map((run) => {
              const values = run.points[name];
              return [
                title,
                ...runCell(run),
                ...tenths(run).map(([a, b]) => figure(mean(values.slice(a, b)))),
                figure(minimum(values, Infinity)),
                figure(maximum(values, -Infinity)),
              ];
            })
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
      asTable,
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
    const timingTable = table(
      ["part of a step", "seconds", "share"],
      [
        ...names.map((name) => [
          [swatch(color(name)), " ", word(name)],
          average(name).toFixed(average(name) < 0.1 ? 4 : 2),
          percent(average(name) / total),
        ]),
        [h("b", {}, "whole step"), total.toFixed(2), ""],
      ],
      {caption: "Mean over the run."}
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
      timingTable
    );
  });
  section("timing", "Where the time goes", "Seconds of an optimizer step. Nested parts are not counted twice.", body);
}
