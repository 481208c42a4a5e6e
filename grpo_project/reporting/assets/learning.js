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
    const change = table(
      [
        by === "domain" ? "domain" : "difficulty",
        ...runHead(),
        ...(several ? ["first tenth", "last tenth"] : tenths(runs[0]).map((part) => windowText(runs[0], part))),
        reward ? "change" : "points",
      ],
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
            const [a, b] = parts;
            const meanReward = (part) => [
              part.all ? figure(part.reward / part.all) : "\u2013",
              h("span", {class: "of"}, `${part.all} completions`),
            ];
            const moved = reward ? b.reward / b.all - a.reward / a.all : 100 * (b.won / b.all - a.won / a.all);
            const text = reward ? (moved >= 0 ? "+" : "\u2212") + Math.abs(moved).toFixed(2) : signed(moved);
            return [
              name,
              ...runCell(run),
              ...parts.map((part) => (reward ? meanReward(part) : rateCell(part.won, part.all))),
              a.all && b.all ? td(direction(moved), text) : null,
            ];
          })
      ),
      {
        caption: reward
          ? "Mean reward in the first and the last tenth of the log."
          : "Success in the first and the last tenth of the log, 95% intervals.",
      }
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
      h("div", {class: "split"}, h("div", {}, panels, diamonds, h("p", {class: "soft small"}, caution)), change),
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
