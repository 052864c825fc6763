// Requests in each second of the last minute, and how long after its event each came.

import { count, showMillis } from "./dom.js";
import { server } from "./outcomes.js";

const SECONDS = 60;
const HEIGHT = 64;
const SVG = "http://www.w3.org/2000/svg";
const KINDS = ["delivered", "refused", "failing"];

export class Plot {
  constructor(svg, rate, delay) {
    this.svg = svg;
    this.rateText = rate;
    this.delayText = delay;
    this.offset = 0; // of the server's clock
    this.clear();
  }

  clear() {
    this.seconds = new Map();
  }

  add(row) {
    if (row.side !== "partner" || row.outcome === "note") return;
    const second = Math.floor(row.at / 1000);
    if (second < this.#now() - SECONDS) return;
    const bucket = this.seconds.get(second) ?? { delivered: 0, refused: 0, failing: 0, delays: [] };
    const kind = KINDS.includes(row.outcome) ? row.outcome : "refused";
    bucket[kind] += 1;
    if (typeof row.delay === "number" && bucket.delays.length < 1000) bucket.delays.push(row.delay);
    this.seconds.set(second, bucket);
  }

  #now() {
    return Math.floor((Date.now() + this.offset) / 1000);
  }

  draw() {
    const now = this.#now();
    for (const second of this.seconds.keys()) if (second < now - SECONDS) this.seconds.delete(second);
    const buckets = [...this.seconds.values()];
    const sizes = buckets.map((bucket) => KINDS.reduce((sum, kind) => sum + bucket[kind], 0));
    const most = Math.max(1, ...sizes);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const medians = new Map([...this.seconds].filter(([, bucket]) => bucket.delays.length).map(([second, bucket]) => [second, median(bucket.delays)]));
    const slowest = Math.max(1, ...medians.values());
    const shapes = [];
    const points = [];
    for (let back = SECONDS - 1; back >= 0; back -= 1) {
      const bucket = this.seconds.get(now - back);
      if (!bucket) continue;
      const x = (SECONDS - 1 - back) * 10;
      let y = HEIGHT;
      for (const kind of KINDS) {
        const height = (bucket[kind] / most) * (HEIGHT - 4);
        y -= height;
        if (height) shapes.push(shape("rect", { class: kind, x: x + 1, y, width: 8, height }));
      }
      if (medians.has(now - back)) points.push([x + 5, HEIGHT - 3 - (medians.get(now - back) / slowest) * (HEIGHT - 10)]);
    }
    shapes.push(shape("polyline", { points: points.map((point) => point.join(",")).join(" ") }));
    for (const [cx, cy] of points) shapes.push(shape("circle", { cx, cy, r: 2 }));
    this.svg.replaceChildren(...shapes);
    const delays = buckets.flatMap((bucket) => bucket.delays);
    const rate = total ? `${count(total)} in the last minute, up to ${count(most)} a second` : `No event at ${server.name} in the last minute`;
    const delay = delays.length ? `median delay ${showMillis(median(delays))}, slowest ${showMillis(maximum(delays))}` : "";
    this.rateText.textContent = rate;
    this.delayText.textContent = delay;
    this.svg.setAttribute("aria-label", [rate, delay].filter(Boolean).join("; "));
  }
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

const maximum = (numbers) => numbers.reduce((one, other) => Math.max(one, other), 0);

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
