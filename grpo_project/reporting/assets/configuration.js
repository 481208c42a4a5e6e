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
  const differs = (name) => new Set(RUNS.map((run) => run.configuration.settings[name])).size > 1;
  const host = h("div", {});
  const draw = () => {
    const rows = names.filter((name) => {
      const values = RUNS.map((run) => run.configuration.settings[name]);
      return (
        (only === "all" || (only === "differences" ? differs(name) : RUNS.some((run) => isSet(run, name)))) &&
        (name + " " + values.join(" ")).toLowerCase().includes(sought)
      );
    });
    host.replaceChildren(
      rows.length
        ? table(
            ["setting", ...(several ? RUNS.map((run) => run.name) : ["value", "from"])],
            rows.map((name) =>
              Object.assign(
                [
                  td("code", name),
                  ...RUNS.flatMap((run) => [
                    run.configuration.settings[name],
                    ...(several ? [] : [td("soft", run.configuration.sources[name] || "")]),
                  ]),
                ],
                {kind: several && differs(name) ? "differs" : null}
              )
            ),
            {kind: several ? "words" : "words settings"}
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
            table(
              null,
              Object.entries(object).map(([name, value]) => [name, td("code", value)]),
              {kind: "words"}
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
