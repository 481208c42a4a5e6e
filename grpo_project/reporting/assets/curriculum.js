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
  const rewardStd = Object.entries(p.expected_reward_std).map(([domain, buckets]) =>
    panel(
      `Expected reward std, ${domain}`,
      "",
      chart({
        label: `Expected reward std, ${domain}`,
        height: 130,
        xMax: xEnd([run]),
        series: Object.entries(buckets).map(([bucket, values]) => line(values, bucket, `var(--${bucket})`)),
      })
    )
  );
  const stages = p.stages.length
    ? h("p", {}, "Stages: " + p.stages.map(([step, name]) => `${name} (from step ${step})`).join(", ") + ".")
    : null;
  if (!single.length && !rewardStd.length && !stages) return null;
  return h(
    "div",
    {style: "margin-top:1rem"},
    stages,
    single.length ? h("div", {class: "panels three"}, single) : null,
    rewardStd.length
      ? [
          h("h3", {}, "Where the curriculum expects something to learn"),
          legend(DATA.buckets.map((bucket) => [`var(--${bucket})`, bucket, ""])),
          h("div", {class: "panels three"}, rewardStd),
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
    const shares = table(
      ["difficulty", "mean weight", "realised share"],
      names.map((name) => [
        name,
        p.weights[name] && percent(mean(p.weights[name].map((v) => v ?? 0))),
        p.prompts_by_bucket[name] && rateCell(sum(p.prompts_by_bucket[name]), total),
      ]),
      {caption: "Over the whole log."}
    );
    const buckets = Object.entries(run.configuration.buckets);
    const pools = buckets.length
      ? table(
          ["domain", ...DATA.buckets, "p40", "p80"],
          buckets.map(([domain, found]) => [
            domain,
            ...DATA.buckets.map((b) => found.counts[b]),
            figure(found.p40),
            figure(found.p80),
          ]),
          {caption: "Training problems in each bucket: what there is to draw from."}
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
      h("div", {class: "stacked"}, shares, pools)
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
    const domainTable = table(
      ["domain", "share", "fewest in a batch", "most"],
      names.map((name) => [
        [swatch(color(name)), " ", name],
        [
          percent(sum(p.prompts_by_domain[name]) / (sum(totals) || 1)),
          h("span", {class: "of"}, `${sum(p.prompts_by_domain[name])}/${sum(totals)}`),
        ],
        figure(fewest(name)),
        figure(most(name)),
      ])
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
      domainTable
    );
  });
  section(
    "batches",
    "Domains in each batch",
    "Every batch owes every domain its quota of prompts: the same number, unless the run weighted its domains.",
    body
  );
}
