document.getElementById("head").append(h("h1", {}, DATA.title), ...blocks(DATA.head, {}));
DATA.sections.forEach(layOut);
viewer();
configuration();
const spy = new IntersectionObserver(
  (entries) =>
    entries
      .filter((entry) => entry.isIntersecting)
      .forEach((entry) =>
        document
          .querySelectorAll("nav.bar a")
          .forEach((link) => fill(link, {"aria-current": String(link.getAttribute("href") === "#" + entry.target.id)}, []))
      ),
  {rootMargin: "-15% 0px -75% 0px"}
);
document.querySelectorAll("main section").forEach((node) => spy.observe(node));
document.getElementById("foot").append(DATA.foot);
document.documentElement.dataset.ready = "true";
