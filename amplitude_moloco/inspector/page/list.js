// A list of which only the rows in view exist. A listbox: the list keeps the focus, and names the
// row that is chosen, so that scrolling never takes the focus away.

import { decoration, element, showTime } from "./dom.js";
import { outcomeOf, server } from "./outcomes.js";

const narrow = matchMedia("(max-width: 699px)");
const EXTRA = 8;

export class List {
  constructor(box, spacer, onChoose) {
    this.box = box;
    this.spacer = spacer;
    this.onChoose = onChoose;
    this.shown = []; // groups, oldest first; the newest is on top
    this.made = new Map();
    this.chosen = undefined;
    this.hasLeft = true; // whether there is another side than MCM
    box.addEventListener("scroll", () => this.render(), { passive: true });
    box.addEventListener("keydown", (event) => this.#onKey(event));
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-number]");
      const group = row && this.made.get(Number(row.dataset.number))?.group;
      if (group) this.choose(group, true);
    });
    narrow.addEventListener("change", () => this.replace(this.shown));
    new ResizeObserver(() => this.render()).observe(box);
  }

  get rowHeight() {
    return narrow.matches ? 80 : 40;
  }

  replace(groups) {
    this.shown = groups;
    this.box.scrollTop = Math.min(this.box.scrollTop, groups.length * this.rowHeight);
    this.render();
  }

  // Rows were added on top. What the reader looks at stays where it is.
  added(number) {
    const isAtTop = this.box.scrollTop === 0;
    this.#setHeight();
    if (!isAtTop) this.box.scrollTop += number * this.rowHeight;
    this.render();
  }

  choose(group, isOpened) {
    this.chosen = group;
    this.#reveal();
    this.render();
    this.onChoose(group, isOpened);
  }

  #setHeight() {
    this.spacer.style.height = `${this.shown.length * this.rowHeight}px`;
  }

  #reveal() {
    const index = this.#indexOf(this.chosen);
    if (index < 0) return;
    const top = index * this.rowHeight;
    const bottom = top + this.rowHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight;
  }

  // Groups have growing numbers, so that a search by halves finds one among many.
  #indexOf(group) {
    let low = 0;
    let high = this.shown.length - 1;
    while (group && low <= high) {
      const middle = (low + high) >> 1;
      if (this.shown[middle] === group) return this.shown.length - 1 - middle;
      if (this.shown[middle].number < group.number) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  render() {
    this.#setHeight();
    const height = this.rowHeight;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - EXTRA);
    const end = Math.min(this.shown.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + EXTRA);
    const kept = new Set();
    for (let index = first; index < end; index += 1) {
      const group = this.shown[this.shown.length - 1 - index];
      kept.add(group.number);
      this.#draw(group, index);
    }
    for (const [number, made] of this.made) {
      if (!kept.has(number)) {
        made.row.remove();
        this.made.delete(number);
      }
    }
    const isChosenHere = this.chosen && kept.has(this.chosen.number);
    if (isChosenHere) this.box.setAttribute("aria-activedescendant", `event-${this.chosen.number}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  #draw(group, index) {
    let made = this.made.get(group.number);
    if (!made || made.version !== group.version || made.group !== group) {
      const row = drawRow(group, this.hasLeft);
      if (made) made.row.replaceWith(row);
      else this.spacer.append(row);
      made = { row, version: group.version, group };
      this.made.set(group.number, made);
    }
    made.row.style.transform = `translateY(${index * this.rowHeight}px)`;
    made.row.setAttribute("aria-posinset", index + 1);
    made.row.setAttribute("aria-setsize", this.shown.length);
    made.row.setAttribute("aria-selected", group === this.chosen);
  }

  #onKey(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.ctrlKey || event.metaKey || event.altKey || this.shown.length === 0) return;
    if (event.key in steps) {
      const now = this.#indexOf(this.chosen);
      const start = now < 0 ? -1 : now;
      const index = Math.min(this.shown.length - 1, Math.max(0, start + steps[event.key]));
      this.choose(this.shown[this.shown.length - 1 - index], false);
    } else if ((event.key === "Enter" || event.key === " ") && this.chosen) {
      this.choose(this.chosen, true);
    } else {
      return;
    }
    event.preventDefault();
  }
}

function drawRow(group, hasLeft) {
  const { icon, name } = outcomeOf(group.outcome);
  const left = describe(group.amplitude, "not at Amplitude");
  const right = describe(group.partner, group.outcome === "note" ? "" : `not at ${server.name}`, "–");
  const time = showTime(group.at);
  return element(
    "div",
    {
      role: "option",
      id: `event-${group.number}`,
      class: `event ${group.outcome}`,
      "data-number": group.number,
      "aria-label": `${name}. ${hasLeft ? `Amplitude: ${left.spoken}. ` : ""}${server.name}: ${right.spoken}. ${time}`,
    },
    element("span", { class: "outcome" }, decoration(icon), name),
    element("span", { class: "left" }, ...left.parts),
    element("span", { class: "right" }, ...right.parts),
    element("time", {}, time),
  );
}

// What one side has of an event: the last row of each id, and how many attempts there were.
function describe(rows, absent, shown = absent) {
  if (rows.length === 0) return { spoken: absent || "nothing", parts: [element("span", { class: "absent" }, absent ? shown : "")] };
  const last = new Map();
  const attempts = new Map();
  for (const row of rows) {
    const id = row.id || row;
    last.set(id, row);
    attempts.set(id, (attempts.get(id) ?? 0) + 1);
  }
  const spoken = [];
  const parts = [];
  for (const [id, row] of last) {
    const { icon, name } = outcomeOf(row.outcome);
    const tries = row.attempts ?? attempts.get(id);
    const type = row.type || (row.side === "export" ? "Export API" : row.outcome === "note" ? "" : "(no type)");
    const more = [row.outcome === "delivered" ? "" : row.status, tries > 1 ? `attempt ${tries}` : "", row.message];
    const said = more.filter(Boolean).join(" · ");
    parts.push(element("span", { class: `side ${row.outcome}` }, decoration(icon), element("b", {}, type), said && element("span", { class: "said" }, said)));
    spoken.push([type, name, said].filter(Boolean).join(", "));
  }
  return { spoken: spoken.join("; "), parts };
}
