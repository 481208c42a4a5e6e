/* Every setting with where it came from, to be searched; of several runs what differs. */
function configuration() {
  const spec = {
    id: "configuration",
    title: "Configuration",
    about: "Every setting as it was resolved, and where its value came from.",
  };
  const names = [...new Set(RUNS.flatMap((run) => Object.keys(run.configuration.settings)))];
  if (!names.length)
    return section(spec, empty("resolved_config.json is missing or still being written: the settings are not known."));
  const options = several ? [["differences", "differences"]] : [["set", "not left to the built-in default"]];
  let only = options[0][0],
    sought = "";
  const valuesOf = (name) => RUNS.map((run) => run.configuration.settings[name]);
  const sourceOf = (run, name) => run.configuration.sources[name] || "";
  const differs = (name) => new Set(valuesOf(name)).size > 1;
  const isSet = (name) => RUNS.some((run) => !/^(built-in default|$)/.test(sourceOf(run, name)));
  const host = h("div", {});
  const draw = () => {
    const rows = names
      .filter((name) => only === "all" || (several ? differs(name) : isSet(name)))
      .filter((name) => [name, ...valuesOf(name)].join(" ").toLowerCase().includes(sought))
      .map((name) => {
        const from = several ? [] : [{kind: "soft", text: sourceOf(RUNS[0], name)}];
        const row = [{kind: "code", text: name}, ...valuesOf(name), ...from];
        return Object.assign(row, {kind: several && differs(name) ? "differs" : null});
      });
    const head = ["setting", ...(several ? RUNS.map((run) => run.name) : ["value", "from"])];
    const none = only === "differences" ? "The runs have the same settings." : "No setting matches.";
    host.replaceChildren(
      rows.length ? table(head, rows, {kind: several ? "words" : "words settings"}) : empty(none)
    );
  };
  const search = {
    type: "search",
    "aria-label": "Find a setting",
    oninput: (event) => {
      sought = event.target.value.toLowerCase();
      draw();
    },
  };
  const choose = (value) => {
    only = value;
    draw();
  };
  draw();
  section(
    spec,
    h(
      "div",
      {class: "controls"},
      segments("Settings", [...options, ["all", "all"]], () => only, choose),
      h("label", {class: "group"}, h("span", {}, "Find"), h("input", search))
    ),
    host,
    ...RUNS.map(surroundings)
  );
}
function surroundings(run) {
  const c = run.configuration;
  const pairs = (title, object) => {
    const rows = Object.entries(object).map(([name, value]) => [name, {kind: "code", text: value}]);
    return rows.length ? [h("h3", {}, title), table(null, rows, {kind: "words"})] : null;
  };
  const text = (title, value) => (value ? [h("h3", {}, title), h("pre", {}, value)] : null);
  return h(
    "details",
    {},
    h("summary", {}, (several ? run.name + ": command" : "Command") + " line, schedule, versions"),
    text("Command line", c.command_line),
    text("Curriculum schedule", c.schedule),
    pairs("Reward", c.reward),
    pairs("Environment", c.environment),
    pairs("Fingerprints", c.fingerprints)
  );
}
