// How the outcomes of events are named and shown, and whose answers they are.

export const server = { name: "MCM" }; // in an app, another one may be asked

export const OUTCOMES = {
  delivered: { icon: "✓", name: "Delivered", meaning: "accepted by the server" },
  refused: { icon: "✕", name: "Refused", meaning: "refused for good" },
  failing: { icon: "↻", name: "Failing", meaning: "no success yet; it is kept and sent again" },
  invalid: { icon: "⊘", name: "Invalid", meaning: "can't become a request; never sent" },
  lost: { icon: "!", name: "Dropped", meaning: "found no room or no time" },
  only: { icon: "○", name: "Not at MCM", meaning: "at Amplitude only" },
  note: { icon: "i", name: "Note", meaning: "concerns no single event" },
};

export const outcomeOf = (name) => OUTCOMES[name] ?? OUTCOMES.note;
