// The road of a device at the measurement partner: what it did, what that is attributed to, and the postbacks.

import { byId, count, decoration, element, plural } from "../../live/dom.js";

const HOUR = 3600;
const DAY = 24 * HOUR;
const MOVES = [
  [-8 * DAY, "8 days back"],
  [20 * 60, "20 minutes on"],
  [6 * HOUR, "6 hours on"],
  [DAY, "1 day on"],
  [8 * DAY, "8 days on"],
];
const ICONS = { view: "◉", click: "➚", install: "⤓", session: "▷", reattribution: "↻", event: "★", refused: "✕" };
const STATES = { kept: "kept here", pending: "on its way", delivered: "delivered", failed: "failed" };
const WHOSE = { own: "with campaign and touch", other: "another partner's, without campaign", organic: "organic" };
const POLL_MILLIS = 1000;
let state = { version: "", devices: [], strangers: 0 };
let chosen;
let drawn = "";

// -- reading -------------------------------------------------------------------------------

async function poll() {
  try {
    await read();
    showConnection("live", "Live");
  } catch {
    showConnection("lost", "Connection lost; trying again …");
  }
  setTimeout(poll, POLL_MILLIS);
}

async function read() {
  const answer = await fetch(`state?version=${encodeURIComponent(state.version)}`);
  if (!answer.ok) throw new Error(answer.status);
  const found = await answer.json();
  const isNew = "devices" in found;
  state = { ...state, ...found };
  showClock();
  if (!isNew) return;
  const isKnown = chosen === "" ? state.strangers > 0 : state.devices.some((each) => each.key === chosen);
  if (!isKnown) chosen = state.devices[0]?.key ?? (state.strangers ? "" : undefined);
  showDevices();
  await showRoad();
}

async function showRoad() {
  byId("nothing").hidden = chosen !== undefined;
  if (chosen === undefined) {
    byId("road-heading").textContent = "Road";
    byId("ids").replaceChildren();
    byId("steps").replaceChildren();
    drawn = "";
    showTry();
    return;
  }
  const key = chosen;
  const answer = await fetch(`road?device=${encodeURIComponent(key)}`);
  if (!answer.ok || key !== chosen) return; // it is gone, or another one was chosen meanwhile
  const road = await answer.json();
  const text = JSON.stringify(road);
  if (text === drawn) return;
  const isSame = byId("road").dataset.key === key;
  drawn = text;
  byId("road").dataset.key = key;
  byId("road-heading").textContent = key ? "Road of this device" : "Touches and requests of no device";
  byId("ids").replaceChildren(...Object.entries(road.ids).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, element("code", {}, foreign(value))))));
  const open = isSame ? new Set([...document.querySelectorAll("#steps details[open]")].map((each) => each.dataset.key)) : new Set();
  byId("steps").replaceChildren(...road.steps.map(drawStep));
  for (const each of document.querySelectorAll("#steps details")) each.open ||= open.has(each.dataset.key);
  byId("news").textContent = plural(road.steps.length, "step");
}

// -- drawing -------------------------------------------------------------------------------

function showConnection(name, text) {
  byId("connection").dataset.state = name;
  if (byId("connection-text").textContent !== text) byId("connection-text").textContent = text;
}

function showClock() {
  byId("now").textContent = date(state.now);
  const ahead = Math.round(state.ahead_seconds);
  const span = [[DAY, "d"], [HOUR, "h"], [60, "min"]].reduce(
    ([parts, rest], [size, unit]) => [rest >= size ? [...parts, `${Math.floor(rest / size)} ${unit}`] : parts, rest % size],
    [[], Math.abs(ahead)],
  )[0].join(" ");
  byId("ahead").textContent = span ? `${span} ${ahead > 0 ? "ahead of" : "behind"} the present` : "the present";
}

function showDevices() {
  byId("device-count").textContent = state.device_count > state.devices.length ? `the last ${count(state.devices.length)} of ${count(state.device_count)}` : "";
  const items = state.devices.map((device) => {
    const name = Object.entries(device.ids).find(([each]) => each !== "adid") ?? ["adid", device.ids.adid];
    const source = device.source.touch === null ? "organic" : device.source.partner;
    const more = [plural(device.events, "event"), device.refused ? `${count(device.refused)} refused` : ""].filter(Boolean).join(", ");
    return choice(device.key, name[1], source, more);
  });
  if (state.strangers) items.push(choice("", "No device", "touches and requests", count(state.strangers)));
  byId("device-list").replaceChildren(...items);
}

function choice(key, name, source, more) {
  const button = element("button", { type: "button", "data-key": key, ...(key === chosen ? { "aria-current": "true" } : {}) }, element("b", {}, foreign(name)), element("span", {}, foreign(source)), element("small", {}, more));
  button.addEventListener("click", async () => {
    chosen = key;
    for (const each of document.querySelectorAll("#device-list button")) each.toggleAttribute("aria-current", false);
    button.setAttribute("aria-current", "true");
    await showRoad();
    byId("road").focus({ preventScroll: innerWidth > 699 });
  });
  return element("li", {}, button);
}

function drawStep(step) {
  const { source } = step;
  return element(
    "li",
    { class: `step kind-${step.kind}`, "data-kind": step.kind },
    element("span", { class: "mark", "aria-hidden": "true" }, ICONS[step.kind]),
    element("time", {}, date(step.at)),
    element("h3", {}, foreign(step.title)),
    source ? element("p", { class: "source" }, "attributed to ", element("b", {}, foreign(source.partner)), source.touch === null ? "" : ` (${source.tier})`) : "",
    ...step.notes.map((note) => element("p", { class: "note" }, foreign(note))),
    step.candidates?.length ? reasons(step.candidates) : "",
    ...(step.postbacks ?? []).map((each) => postback(step, each)),
    folded(`${step.number} parameters`, [plural(Object.keys(step.parameters).length, "parameter")], pairs(step.parameters)),
  );
}

function reasons(candidates) {
  const items = candidates.map((each) =>
    element("li", { class: each.has_won ? "winner" : "loser" }, decoration(each.has_won ? "✓" : "–"), element("span", { class: "hidden" }, each.has_won ? "won: " : "lost: "), element("b", {}, foreign(each.name)), ` ${each.reason}`),
  );
  return element("ul", { class: "reasons", "aria-label": "Candidates" }, ...items);
}

function postback(step, each) {
  const [title, word] = each.callback ? ["Callback", "callback"] : ["Postback", "postback"];
  const told = [...(each.callback ? [" ", foreign(each.callback)] : []), " to ", foreign(each.partner), ": "];
  if (each.silence) return element("p", { class: "postback silent" }, decoration("⊘"), `No ${word}`, ...told, foreign(each.silence));
  if (!each.state) return element("p", { class: "postback silent" }, decoration("⊘"), title, ...told, "no longer kept");
  const tries = each.statuses.length ? ` (${each.statuses.map((status) => status ?? "no answer").join(", ")})` : "";
  const heading = [title, ...told, `${WHOSE[each.kind]}; ${STATES[each.state]}${tries}`];
  const url = each.url ? [element("p", { class: "url" }, element("code", {}, foreign(each.url)))] : [];
  return element("div", { class: `postback state-${each.state}` }, folded(`${step.number} ${each.partner} ${each.callback}`, heading, ...url, pairs(each.fields)));
}

// A text from elsewhere. Whatever direction it has ends with it.
function foreign(text) {
  return element("bdi", {}, text);
}

function folded(key, heading, ...content) {
  return element("details", { "data-key": key }, element("summary", {}, ...heading), ...content);
}

function pairs(fields) {
  return element("dl", { class: "pairs" }, ...Object.entries(fields).flatMap(([name, value]) => [element("dt", {}, foreign(name)), element("dd", {}, foreign(value))]));
}

function showTry() {
  const url = location.href.replace(/\/[^/]*$/, "");
  const id = "gps_adid=cdb11111-2222-3333-4444-555566667777";
  const app = "s2s=1&app_token=sandboxtoken&environment=sandbox";
  byId("try").textContent = [
    `curl '${url}/impression/moloco1?${id}&campaign=summer'`,
    `curl '${url}/moloco1?${id}&campaign=summer'`,
    `curl '${url}/session?${app}&${id}'`,
    `curl '${url}/event?${app}&${id}&event_token=abc123'`,
  ].join("\n");
}

function date(seconds) {
  return `${new Date(Math.floor(seconds) * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

// -- what the reader does --------------------------------------------------------------------

async function move(seconds) {
  const body = JSON.stringify(seconds === undefined ? {} : { move_seconds: seconds });
  try {
    const answer = await fetch("clock", { method: "POST", body, headers: { "content-type": "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    await read();
    byId("news").textContent = `The clock says ${byId("now").textContent}`;
  } catch {
    byId("news").textContent = "The clock can't be moved that far.";
  }
}

for (const [seconds, name] of [...MOVES, [undefined, "To the present"]]) {
  const button = element("button", { type: "button" }, name);
  button.addEventListener("click", () => move(seconds));
  byId("moves").append(button);
}
poll();
