drawHead();
overview();
alarmSection();
heldOut();
learning();
curriculum();
batches();
verdicts();
course();
timing();
viewer();
configuration();
document.getElementById("sections").append(...SECTIONS.map(([id, title]) => h("a", {href: "#" + id}, title)));
const spy = new IntersectionObserver(
  (entries) =>
    entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      document
        .querySelectorAll("nav.bar a")
        .forEach((link) =>
          link.getAttribute("href") === "#" + entry.target.id
            ? link.setAttribute("aria-current", "true")
            : link.removeAttribute("aria-current")
        );
    }),
  {rootMargin: "-15% 0px -75% 0px"}
);
document.querySelectorAll("main section").forEach((node) => spy.observe(node));
document.getElementById("foot").append(
  `Written ${DATA.written} by script/report.py. ` +
    RUNS.filter((run) => run.pooled > 1)
      .map(
        (run) =>
          `${several ? run.name + ": e" : "E"}ach point stands for ${run.pooled} log lines (of ${run.log_lines}). `
      )
      .join("")
);
document.documentElement.dataset.ready = "true";
