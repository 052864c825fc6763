// Buttons that make the sandbox fail, and what is pending.

import { byId, element, plural } from "./dom.js";

const STATUSES = [
  [503, "unavailable"],
  [500, "error"],
  [429, "throttled"],
  [401, "wrong key"],
  [400, "refused"],
];
const NAMES = { moloco: "MCM", amplitude: "Amplitude", export: "the Export API", mmp: "the measurement partner" };

export function setUpFaults() {
  byId("faults").hidden = false;
  for (const [status, meaning] of STATUSES) {
    const button = element("button", { type: "button", value: status }, element("b", {}, status), ` ${meaning}`);
    button.addEventListener("click", () => addFault(status));
    byId("fault-statuses").append(button);
  }
  byId("fault-form").addEventListener("submit", (event) => event.preventDefault());
  byId("fault-clear").addEventListener("click", async () => {
    await send("DELETE", undefined, "Faults removed.");
  });
}

async function addFault(status) {
  const times = byId("fault-times");
  if (!times.reportValidity()) return;
  const target = byId("fault-target").value;
  await send("POST", { status, times: Number(times.value), target }, `Added: ${status}.`);
}

async function send(method, fault, done) {
  let said = done;
  try {
    const answer = await fetch("faults", { method, body: fault && JSON.stringify(fault), headers: { "content-type": "application/json" } });
    if (!answer.ok) said = (await answer.json()).message;
  } catch {
    said = "The sandbox can't be reached.";
  }
  byId("fault-result").textContent = said;
}

export function showFaults(faults) {
  const parts = faults.map(({ status, times, target, retry_after: wait }) => {
    const later = wait === null ? "" : ` and Retry-After ${wait}`;
    return `${status}${later} for the next ${times === 1 ? "request" : plural(times, "request")} to ${NAMES[target]}`;
  });
  const banner = byId("fault-banner");
  // The banner changes with each request. A screen reader hears only of the last.
  if (!banner.hidden && parts.length === 0) byId("news").textContent = "No fault is active any more.";
  banner.hidden = parts.length === 0;
  const text = `Fault active: ${parts.join("; ")}.`;
  if (banner.textContent !== text) banner.textContent = text;
}
