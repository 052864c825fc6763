// Buttons that make the sandbox fail, for a few requests or until further notice; what is in force.

import { byId, count, element, plural } from "./dom.js";

const STATUSES = [
  [503, "unavailable"],
  [500, "error"],
  [429, "throttled"],
  [401, "wrong key"],
  [400, "refused"],
];
const NAMES = { moloco: "MCM", amplitude: "Amplitude", export: "the Export API", mmp: "the measurement partner", adbrix: "Adbrix" };
const FIELDS = ["condition-rate", "condition-status", "condition-latency"];
let shownConditions = "";

export function setUpFaults() {
  byId("faults").hidden = false;
  for (const [status, meaning] of STATUSES) {
    const button = element("button", { type: "button", value: status }, element("b", {}, status), ` ${meaning}`);
    button.addEventListener("click", () => addFault(status));
    byId("fault-statuses").append(button);
  }
  byId("fault-form").addEventListener("submit", (event) => event.preventDefault());
  byId("condition-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setConditions();
  });
  byId("fault-clear").addEventListener("click", async () => {
    await send("DELETE", "faults", undefined, "");
    await send("PUT", "conditions", {}, "Faults removed.");
  });
}

async function setConditions() {
  const [percent, status, latency] = FIELDS.map((id) => Number(byId(id).value));
  const conditions = { rate: percent / 100, status, latency_millis: latency };
  await send("PUT", "conditions", conditions, "Set.");
}

async function addFault(status) {
  const times = byId("fault-times");
  if (!times.reportValidity()) return;
  const target = byId("fault-target").value;
  await send("POST", "faults", { status, times: Number(times.value), target }, `Added: ${status}.`);
}

async function send(method, path, body, done) {
  let said = done;
  try {
    const answer = await fetch(path, { method, body: body && JSON.stringify(body), headers: { "content-type": "application/json" } });
    if (!answer.ok) said = (await answer.json()).message;
  } catch {
    said = "The sandbox can't be reached.";
  }
  byId("fault-result").textContent = said;
}

export function showFaults(faults, conditions) {
  showConditions(conditions);
  const { rate, status: usual, latency_millis: latency } = conditions;
  const parts = [];
  if (rate > 0) parts.push(`${usual} for ${percentOf(rate)} % of requests to MCM`);
  if (latency > 0) parts.push(`each answer delayed by ${count(latency)} ms`);
  parts.push(...faults.map(({ status, times, target, retry_after: wait }) => {
    const later = wait === null ? "" : ` and Retry-After ${wait}`;
    return `${status}${later} for the next ${times === 1 ? "request" : plural(times, "request")} to ${NAMES[target]}`;
  }));
  const banner = byId("fault-banner");
  // The banner changes with each request. A screen reader hears only of the last.
  if (!banner.hidden && parts.length === 0) byId("news").textContent = "No fault is active any more.";
  banner.hidden = parts.length === 0;
  const text = `Fault active: ${parts.join("; ")}.`;
  if (banner.textContent !== text) banner.textContent = text;
}

// The fields show what holds, when it changes. What someone is typing meanwhile stays.
function showConditions(conditions) {
  const text = JSON.stringify(conditions);
  if (text === shownConditions) return;
  shownConditions = text;
  const values = [percentOf(conditions.rate), conditions.status, conditions.latency_millis];
  FIELDS.forEach((id, i) => {
    if (byId(id) !== document.activeElement) byId(id).value = values[i];
  });
}

const percentOf = (rate) => Number((rate * 100).toFixed(2));
