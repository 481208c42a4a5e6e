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
