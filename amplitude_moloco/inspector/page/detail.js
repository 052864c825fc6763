// The details of one event: every request, its payload, and each problem beside its field.

import { decoration, element, plural, showMillis, showTime } from "./dom.js";
import { outcomeOf, server } from "./outcomes.js";

const MOST_REQUESTS = 20;

export class Detail {
  constructor(pane, { hasPayloads, onClose }) {
    this.pane = pane;
    this.hasPayloads = hasPayloads;
    this.onClose = onClose;
    this.group = undefined;
    this.version = "";
    pane.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.onClose();
    });
    this.clear();
  }

  clear() {
    this.group = undefined;
    this.version = "";
    this.pane.replaceChildren(element("p", { class: "hint" }, "Choose an event to see its requests and its payload."));
  }

  async show(group) {
    const rows = [...group.partner.slice(-MOST_REQUESTS).reverse(), ...group.amplitude.slice(-MOST_REQUESTS).reverse()];
    const version = `${group.number} ${group.version}`;
    if (this.version === version) return;
    this.version = version;
    this.group = group;
    const { icon, name, meaning } = outcomeOf(group.outcome);
    const close = element("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => this.onClose());
    const sections = rows.map((row) => this.#section(row));
    this.pane.replaceChildren(
      element("header", { class: group.outcome }, element("h2", { id: "detail-heading" }, decoration(icon), name), close),
      element("p", { class: "meaning" }, meaning),
      element("p", { class: "key" }, element("span", {}, "id "), element("code", {}, group.key || "none")),
      ...sections.map((section) => section.element),
    );
    this.pane.scrollTop = 0;
    this.pane.setAttribute("aria-busy", "true");
    await Promise.all(sections.map((section) => section.load()));
    if (this.version === version) this.pane.setAttribute("aria-busy", "false");
  }

  #section(row) {
    const { icon, name } = outcomeOf(row.outcome);
    const where = { partner: server.name, amplitude: "Amplitude", export: "Export API" }[row.side];
    const facts = [showTime(row.at), row.delay === null || row.delay === undefined ? "" : `${showMillis(row.delay)} after the event`];
    const body = element("div", { class: "body" });
    const made = element(
      "section",
      { class: `request ${row.outcome}`, "aria-label": `${where}, ${name}` },
      element("h3", {}, decoration(icon), `${where}: `, element("b", {}, row.type || "(no type)"), row.status ? ` ${row.status}` : ""),
      row.message ? element("p", { class: "said" }, row.message) : "",
      element("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
      body,
    );
    if (row.problems) body.append(problemList(row.problems));
    return { element: made, load: () => (this.hasPayloads() ? load(row, body) : undefined) };
  }
}

async function load(row, body) {
  try {
    const answer = await fetch(`live/events/${row.n}/${row.i}`);
    if (!answer.ok) throw new Error(answer.status);
    const { lines, problems } = await answer.json();
    body.replaceChildren(payload(lines, problems));
  } catch {
    body.replaceChildren(element("p", { class: "hint" }, "The payload is no longer kept."));
  }
}

function problemList(problems) {
  const items = problems.map((problem) => element("li", {}, element("code", {}, problem.place), " ", problem.message));
  return element("ul", { class: "problems" }, ...items);
}

function payload(lines, problems) {
  const places = new Set(lines.map((line) => line.place));
  const byPlace = new Map();
  for (const problem of problems) {
    let place = problem.place;
    // What is missing is shown at the object that lacks it.
    while (place && !places.has(place)) place = place.replace(/(\.?[^.[\]]+|\[\d+\])$/, "");
    byPlace.set(place, [...(byPlace.get(place) ?? []), problem]);
  }
  const heading = problems.length ? `Payload with ${plural(problems.length, "problem")}` : "Payload";
  const drawn = [element("h4", {}, heading)];
  lines.forEach((line, index) => {
    const isOpening = line.place || index === 0;
    const wrong = (isOpening && byPlace.get(line.place)) || [];
    const own = wrong.some((problem) => problem.place === line.place);
    const text = element("span", { class: "value" }, line.value);
    drawn.push(element("div", { class: own ? "line wrong" : "line", "data-depth": Math.min(line.depth, 12), "data-place": line.place }, element("span", { class: "key" }, line.key), text));
    for (const problem of wrong) {
      const missing = problem.place !== line.place ? `${problem.place}: ` : "";
      const depth = missing ? line.depth + 1 : line.depth;
      drawn.push(
        element("div", { class: "line problem", "data-depth": Math.min(depth, 12), "data-problem": problem.place }, decoration("✕"), element("span", { class: "hidden" }, "Problem: "), missing && element("span", { class: "key" }, missing), problem.message),
      );
    }
  });
  return element("div", { class: "payload", role: "group", "aria-label": heading }, ...drawn);
}
