// Moloco's acceptance matrix, as the server has filled it in.

import { byId, count, decoration, element } from "./dom.js";

const STATES = { met: ["✓", "met"], open: ["–", "open"], broken: ["✕", "not met"] };

export function setUpAcceptance() {
  byId("open-acceptance").hidden = false;
  byId("open-acceptance").addEventListener("click", () => byId("acceptance").showModal());
  byId("close-acceptance").addEventListener("click", () => byId("acceptance").close());
}

export function showAcceptance({ cases, rules }) {
  byId("cases").replaceChildren(
    ...cases.map((each) => {
      const first = each.first ? element("small", {}, "first: ", element("code", {}, each.first)) : "";
      return element("tr", {}, state(each.state), element("td", {}, each.action), element("td", {}, each.expected, first), element("td", { class: "number" }, count(each.events)));
    }),
  );
  byId("rules").replaceChildren(
    ...rules.map((each) => element("tr", {}, state(each.state), element("td", {}, each.rule), element("td", {}, each.found))),
  );
  const met = cases.filter((each) => each.state === "met").length;
  byId("acceptance-count").textContent = `${met}/${cases.length}`;
}

function state(name) {
  const [icon, said] = STATES[name];
  return element("td", { class: `state ${name}` }, decoration(icon), element("span", {}, said));
}
