// Fits the page together: the feed, the groups of rows, and what shows them.

import { setUpAcceptance, showAcceptance } from "./acceptance.js";
import { Detail } from "./detail.js";
import { byId, count, element, plural, rarely } from "./dom.js";
import { setUpFaults, showFaults } from "./faults.js";
import { Filters } from "./filters.js";
import { Groups } from "./groups.js";
import { List } from "./list.js";
import { server } from "./outcomes.js";
import { Plot } from "./plot.js";

const OUTCOMES = {
  sandbox: ["delivered", "refused", "failing", "only"],
  app: ["delivered", "refused", "failing", "invalid", "lost", "note"],
};
const covered = matchMedia("(max-width: 999px)");
const MOST_WAITING = 50_000;
const groups = new Groups();
const plot = new Plot(byId("plot-svg"), byId("plot-rate"), byId("plot-delay"));
const list = new List(byId("events"), byId("spacer"), choose);
const detail = new Detail(byId("detail"), { hasPayloads: () => mode === "sandbox", onClose: closeDetail });
let mode = "";
let filters = new Filters([], refilter);
let epoch = "";
let isPaused = false;
let waiting = [];
let shown = [];
let news = { events: 0, refused: 0, failing: 0, invalid: 0 };
let lastState = {};

// -- the feed ------------------------------------------------------------------------------

const feed = new EventSource("live/feed");
feed.addEventListener("open", () => showConnection("live"));
feed.addEventListener("error", () => showConnection(feed.readyState === EventSource.CLOSED ? "closed" : "lost"));
feed.addEventListener("hello", (event) => {
  plot.offset = JSON.parse(event.data).now - Date.now();
});
feed.addEventListener("rows", (event) => {
  const { epoch: current, rows } = JSON.parse(event.data);
  startOver(current);
  if (isPaused) waiting = waiting.concat(rows).slice(-MOST_WAITING);
  else take(rows);
  showPaused();
});
feed.addEventListener("state", (event) => {
  lastState = JSON.parse(event.data);
  startOver(lastState.epoch);
  setUp(lastState.mode);
  showState();
});

function startOver(current) {
  if (epoch === current) return;
  epoch = current;
  groups.clear();
  plot.clear();
  waiting = [];
  list.chosen = undefined;
  closeDetail();
  detail.clear();
  refilter();
}

function take(rows) {
  let isOldChanged = false;
  let added = 0;
  for (const row of rows) {
    const before = groups.all.length;
    const group = groups.add(row);
    if (!group) continue;
    plot.add(row);
    if (groups.all.length === before) isOldChanged = true;
    else news.events += 1;
    if (row.outcome in news) news[row.outcome] += 1;
    if (groups.all.length > before && !filters.isActive) added += 1;
    if (group === list.chosen) detail.show(group);
  }
  const isTrimmed = groups.trim() > 0;
  if (isTrimmed || filters.isActive) refilterSoon();
  else if (added || isOldChanged) growSoon(added);
  tellNews();
}

// -- drawing, at most once a frame -----------------------------------------------------------

let grown = 0;
let isDrawing = false;
function growSoon(added) {
  grown += added;
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    list.added(grown);
    grown = 0;
    showCounts();
  });
}

const refilterSoon = rarely(250, refilter);
function refilter() {
  shown = filters.isActive ? groups.all.filter((group) => filters.matches(group)) : groups.all;
  grown = 0;
  list.replace(shown);
  showCounts();
}

function onFilter() {
  refilter();
  byId("news").textContent = `${plural(shown.length, "event")} shown`;
}

const showCounts = rarely(100, () => {
  filters.showCounts(groups, shown.length, lastState.forgotten ?? 0);
  showCounters();
  const empty = byId("empty");
  empty.hidden = shown.length > 0;
  if (groups.all.length > 0) empty.replaceChildren(element("p", {}, "No event matches the filters."));
  else empty.replaceChildren(...instructions());
});

function showCounters() {
  const rows = groups.rows;
  const figures =
    mode === "app"
      ? (lastState.counters ?? [])
      : [
          ["accepted by MCM", rows.delivered, "delivered"],
          ["refused by MCM", rows.refused, "refused"],
          ["failed at MCM", rows.failing, "failing"],
          ["accepted by Amplitude", rows.amplitude, "only"],
        ];
  byId("counters").replaceChildren(
    ...figures.map(([name, number, kind = ""]) => element("div", { class: kind }, element("dt", {}, name), element("dd", {}, count(number)))),
  );
}

function instructions() {
  if (mode !== "sandbox") return [element("p", {}, "No event yet."), element("p", {}, "Events appear here as soon as the app tracks them.")];
  const url = location.origin;
  return [
    element("h3", {}, "No event yet"),
    element("p", {}, "Point the plugin and Amplitude's SDK to this sandbox, then track something:"),
    element("pre", { tabindex: "0" }, `MolocoDestination(..., base_url="${url}")\nConfig(server_url="${url}/2/httpapi")`),
  ];
}

function showState() {
  if (mode === "sandbox") {
    showFaults(lastState.faults, lastState.conditions);
    showAcceptance(lastState.acceptance);
  } else if (lastState.note !== undefined) {
    byId("fault-banner").hidden = !lastState.note;
    byId("fault-banner").textContent = lastState.note;
  }
  showCounts();
}

function showConnection(state) {
  byId("connection").dataset.state = state;
  const said = { live: "Live", lost: "Connection lost; trying again …", closed: "Connection refused" };
  byId("connection-text").textContent = said[state];
}

// A screen reader hears a sum now and then, never each event.
const tellNews = rarely(10_000, () => {
  const parts = Object.entries(news).filter(([name, number]) => name !== "events" && number > 0);
  if (news.events > 0) {
    byId("news").textContent = [plural(news.events, "new event"), ...parts.map(([name, number]) => `${number} ${name}`)].join(", ");
  }
  news = { events: 0, refused: 0, failing: 0, invalid: 0 };
});

setInterval(() => {
  if (!document.hidden && !isPaused) plot.draw();
}, 1000);
plot.draw();

// -- what the reader does --------------------------------------------------------------------

function setUp(name) {
  if (mode) return;
  mode = name;
  document.body.dataset.mode = mode;
  filters = new Filters(OUTCOMES[mode], onFilter);
  const title = mode === "sandbox" ? "amplitude-moloco sandbox" : "amplitude-moloco in this app";
  byId("title").textContent = title;
  document.title = title;
  if (mode !== "sandbox") {
    server.name = lastState.server;
    byId("column-left").textContent = "";
    byId("column-right").textContent = server.name;
    plot.draw();
    list.hasLeft = false;
    return;
  }
  setUpFaults();
  setUpAcceptance();
  byId("open-mmp").hidden = false;
  byId("clear").hidden = false;
  byId("clear").addEventListener("click", () => fetch("events", { method: "DELETE" }).catch(() => undefined));
}

function choose(group, isOpened) {
  if (!covered.matches || isOpened) detail.show(group);
  if (!isOpened) return;
  if (covered.matches) {
    byId("detail").classList.add("open");
    setBackground(true);
  }
  byId("detail").focus();
}

function closeDetail() {
  const pane = byId("detail");
  const hadFocus = pane.contains(document.activeElement);
  pane.classList.remove("open");
  setBackground(false);
  if (hadFocus) byId("events").focus();
}

function setBackground(isCovered) {
  for (const part of [byId("top"), byId("figures"), byId("faults"), byId("filters"), byId("list-pane")]) part.inert = isCovered;
}

covered.addEventListener("change", () => {
  if (!covered.matches) closeDetail();
});

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", isPaused);
  if (!isPaused) {
    const rows = waiting;
    waiting = [];
    take(rows);
  }
  showPaused();
});

function showPaused() {
  byId("pause").textContent = isPaused ? `Resume (${count(waiting.length)} waiting)` : "Pause";
}
