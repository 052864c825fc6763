// Moloco's acceptance matrix, as the server has filled it in.

import { byId, count, decoration, element } from "./dom.js";

const STATES = { met: ["✓", "met"], open: ["–", "open"], broken: ["✕", "not met"] };

export function setUpAcceptance() {
  byId("open-acceptance").hidden = false;
  byId("open-acceptance").addEventListener("click", () => {
    byId("acceptance").showModal();
    draw();
  });
  byId("close-acceptance").addEventListener("click", () => byId("acceptance").close());
}

let shown = { cases: [], rules: [] };

export function showAcceptance(acceptance) {
  shown = acceptance;
  const met = shown.cases.filter((each) => each.state === "met").length;
  byId("acceptance-count").textContent = `${met}/${shown.cases.length}`;
  if (byId("acceptance").open) draw();
}

function draw() {
  const { cases, rules } = shown;
  byId("cases").replaceChildren(
    ...cases.map((each) => {
      const first = each.first ? element("small", {}, "first: ", element("code", {}, each.first)) : "";
      return element("tr", {}, state(each.state), element("td", {}, each.action), element("td", {}, each.expected, first), element("td", { class: "number" }, count(each.events)));
    }),
  );
  byId("rules").replaceChildren(
    ...rules.map((each) => element("tr", {}, state(each.state), element("td", {}, each.rule), element("td", {}, each.found))),
  );
}

function state(name) {
  const [icon, said] = STATES[name];
  return element("td", { class: `state ${name}` }, decoration(icon), element("span", {}, said));
}
