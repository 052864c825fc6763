// Which events are shown: by type, outcome and text.

import { byId, count, decoration, element } from "./dom.js";
import { OUTCOMES } from "./outcomes.js";

export class Filters {
  constructor(names, onChange) {
    this.type = "";
    this.text = "";
    this.outcomes = new Set(); // empty: all
    this.boxes = new Map();
    for (const name of names) this.#addOutcome(name, onChange);
    byId("filter-type").addEventListener("change", (event) => {
      this.type = event.target.value;
      onChange();
    });
    let timer = 0;
    byId("filter-text").addEventListener("input", (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.text = event.target.value.trim().toLowerCase();
        onChange();
      }, 120);
    });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  get isActive() {
    return Boolean(this.type || this.text || this.outcomes.size);
  }

  matches(group) {
    if (this.outcomes.size && !this.outcomes.has(group.outcome)) return false;
    if (this.type && !group.types.has(this.type)) return false;
    return !this.text || group.text.includes(this.text);
  }

  showCounts(groups, shown, forgotten) {
    for (const [name, box] of this.boxes) box.number.textContent = count(groups.outcomes.get(name) ?? 0);
    const menu = byId("filter-type");
    const known = new Set([...menu.options].map((option) => option.value));
    for (const type of groups.types.keys()) {
      if (!known.has(type)) menu.append(element("option", { value: type }, type));
    }
    const parts = [];
    if (this.isActive) parts.push(`${count(shown)} of ${count(groups.all.length)}`);
    if (groups.discarded || forgotten) parts.push("older events are not shown");
    byId("filter-count").textContent = parts.join("; ");
  }

  #addOutcome(name, onChange) {
    const { icon, name: title, meaning } = OUTCOMES[name];
    const box = element("input", { type: "checkbox", value: name });
    const number = element("span", { class: "number" }, "0");
    box.addEventListener("change", () => {
      if (box.checked) this.outcomes.add(name);
      else this.outcomes.delete(name);
      onChange();
    });
    byId("filter-outcomes").append(element("label", { class: `chip ${name}`, title: meaning }, box, decoration(icon), `${title} `, number));
    this.boxes.set(name, { box, number });
  }
}
