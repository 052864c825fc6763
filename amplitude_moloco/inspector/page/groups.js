// Joins what arrived at Amplitude and at MCM: one group for each event of the app. No DOM here.

const MOST = 50_000;
const MOST_ROWS = 50;
const MOST_TYPES = 200; // in the menu
const MOST_TEXT = 4_000;
const SLACK = 5_000; // the oldest go in one piece, not one by one
const SECOND_SYNC = /^(.+)-(\d{1,2})$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export class Groups {
  constructor() {
    this.clear();
  }

  clear() {
    this.all = []; // oldest first
    this.discarded = 0;
    this.types = new Map();
    this.outcomes = new Map();
    this.rows = { delivered: 0, refused: 0, failing: 0, amplitude: 0 };
    this.byKey = new Map();
    this.last = [0, -1];
    this.number = 0;
  }

  // Returns the group that the row belongs to; undefined for a row that came before.
  add(row) {
    const [n, i] = this.last;
    if (row.n < n || (row.n === n && row.i <= i)) return undefined;
    this.last = [row.n, row.i];
    const group = this.#groupOf(row);
    const side = row.side === "partner" ? group.partner : group.amplitude;
    side.push(row);
    if (side.length > MOST_ROWS) side.shift(); // an app may send one id again and again
    group.version += 1;
    if (group.text.length < MOST_TEXT) group.text += `\n${row.id} ${row.type} ${row.status ?? ""} ${row.message} ${row.words}`.toLowerCase();
    if (row.type) {
      if (group.types.size < MOST_ROWS) group.types.add(row.type);
      if (this.types.size < MOST_TYPES || this.types.has(row.type)) this.types.set(row.type, (this.types.get(row.type) ?? 0) + 1);
    }
    if (row.side === "amplitude" && row.outcome === "delivered") this.rows.amplitude += 1;
    if (row.side === "partner") this.rows[row.outcome] = (this.rows[row.outcome] ?? 0) + 1;
    this.#setOutcome(group, outcomeOfGroup(group));
    return group;
  }

  #groupOf(row) {
    const known = this.#find(row);
    if (known) {
      this.#remember(known, row);
      return known;
    }
    const group = { number: this.number++, at: row.at, key: "", partner: [], amplitude: [], text: "", types: new Set(), outcome: "", version: 0 };
    this.#remember(group, row);
    this.all.push(group);
    return group;
  }

  #find(row) {
    for (const key of [row.id, row.alias]) {
      if (key && this.byKey.has(key)) return this.byKey.get(key);
    }
    const base = SECOND_SYNC.exec(row.side === "partner" ? row.id : "")?.[1];
    return base && this.byKey.get(base);
  }

  #remember(group, row) {
    group.key ||= row.id;
    const base = SECOND_SYNC.exec(row.side === "partner" ? row.id : "")?.[1];
    const keys = [row.id, row.alias, base && UUID.test(base) ? base : ""];
    for (const key of keys) if (key) this.byKey.set(key, group);
  }

  #setOutcome(group, outcome) {
    if (group.outcome === outcome) return;
    if (group.outcome) this.outcomes.set(group.outcome, this.outcomes.get(group.outcome) - 1);
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    group.outcome = outcome;
  }

  // Discards the oldest groups. Returns how many.
  trim() {
    if (this.all.length < MOST + SLACK) return 0;
    const gone = this.all.splice(0, this.all.length - MOST);
    this.discarded += gone.length;
    for (const group of gone) this.outcomes.set(group.outcome, this.outcomes.get(group.outcome) - 1);
    const old = new Set(gone);
    for (const [key, group] of this.byKey) if (old.has(group)) this.byKey.delete(key);
    return gone.length;
  }
}

// The last attempt of each id counts; the worst of them is the group's.
function outcomeOfGroup(group) {
  const last = new Map(group.partner.map((row) => [row.id || row, row.outcome]));
  if (last.size === 0) {
    const outcome = group.amplitude.at(-1).outcome;
    return outcome === "delivered" && group.amplitude.at(-1).side === "amplitude" ? "only" : outcome;
  }
  const outcomes = new Set(last.values());
  return ["refused", "invalid", "lost", "failing", "delivered"].find((each) => outcomes.has(each)) ?? "note";
}
