const $ = (id) => document.getElementById(id);
const FILTERS = ["by-class", "by-pair", "by-subset", "by-seeds", "by-state", "by-order", "by-kind"];
// An earlier decision is one that the run was trained with: see `Decisions`.
const STATES = {
  all: ["all", () => true],
  todo: ["to do", (decision) => !decision],
  done: ["decided", (decision) => Boolean(decision) && decision.action !== EARLIER],
  keep: ["keep", (decision) => decision?.action === "keep"],
  relabel: ["relabel", (decision) => decision?.action === "relabel"],
  drop: ["drop", (decision) => decision?.action === "drop"],
  earlier: ["in an earlier review", (decision) => decision?.action === EARLIER],
};
const MARKS = { keep: "✓", relabel: "→", drop: "✕", [EARLIER]: "✓" };

/** Returns an element with classes, text and children; text is never read as HTML. */
function element(tag, { text, children = [], ...properties } = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Returns a name that keeps its own direction of writing within a text. */
function isolated(name) {
  return `\u2068${name}\u2069`;
}

/** Returns values with their counts as [value, count], the most frequent first. */
function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, one], [, other]) => other - one);
}

/** The thumbnails: those that the filters let through, in the order that is asked for. */
class List {
  /** `data` is the page's, `examples` a list; `choose` gets the example that is chosen. */
  constructor(data, examples, { decisions, choose }) {
    Object.assign(this, { data, examples, decisions, choose, shown: [] });
    this.tiles = new Map(examples.map((one) => [one.id, this.tile(one)]));
    this.fill();
    $("grid").addEventListener("click", ({ target }) => {
      const tile = target.closest("button");
      if (tile) choose(examples.find((one) => one.id === Number(tile.value)));
    });
  }

  tile(one) {
    const image = element("img", { src: one.image, alt: "", draggable: false, decoding: "async" });
    const names = [
      element("bdi", { className: "name", text: one.given }),
      element("bdi", { className: "name other", text: one.suggested }),
    ];
    const mark = element("span", { className: "mark" });
    const picture = element("span", { className: "picture", children: [image, mark] });
    const title = `given ${isolated(one.given)}, suggested ${isolated(one.suggested)}`;
    const button = element("button", {
      ...{ type: "button", className: "tile", value: String(one.id), tabIndex: -1, title },
      children: [picture, ...names],
    });
    return element("li", { children: [button] });
  }

  /** Shows the decision on an example at its tile. */
  mark(one) {
    const button = this.tiles.get(one.id).firstChild;
    const decision = this.decisions.of(one.id);
    button.dataset.action = decision?.action ?? "";
    button.querySelector(".mark").textContent = MARKS[decision?.action] ?? "";
    const said = decision ? `; ${inWords(decision)}` : "";
    const what = `given ${one.given}, suggested ${one.suggested}, suspicion ${one.suspicion.toFixed(2)}`;
    button.setAttribute("aria-label", `example ${one.id}: ${what}${said}`);
  }

  /** Fills the lists of the filters with what there is. */
  fill() {
    const { examples, data } = this;
    const suspects = examples.filter((one) => one.isSuspect);
    const options = {
      "by-class": this.classOptions(),
      "by-pair": counted(suspects.map((one) => one.pair)).map(([pair, count]) => {
        const { given, suggested } = suspects.find((one) => one.pair === pair);
        return [pair, `${isolated(given)} given, ${isolated(suggested)} suggested: ${count}`];
      }),
      "by-subset": counted(examples.map((one) => one.subset).filter(Boolean))
        .sort()
        .map(([subset, count]) => [subset, `${subset} (${count})`]),
      "by-seeds": Array.from({ length: data.run.numSeeds }, (_, index) => {
        const count = data.run.numSeeds - index;
        return [String(count), index ? `at least ${count}` : `all ${count}`];
      }),
    };
    for (const [id, some] of Object.entries(options)) {
      $(id).append(new Option("all", ""), ...some.map(([value, text]) => new Option(text, value)));
    }
    $("by-subset").closest("label").hidden = examples.every((one) => !one.subset);
    const number = (some) => some.length.toLocaleString("en");
    $("by-kind").append(
      new Option(`all: ${number(examples)}`, ""),
      new Option(`suspects: ${number(suspects)}`, "suspects"),
    );
    const states = Object.entries(STATES).filter(
      ([state]) => state !== EARLIER || examples.some((one) => one.reviewed),
    );
    $("by-state").append(...states.map(([state, [text]]) => new Option(text, state)));
    $("by-order").append(
      new Option("suspicion", "suspicion"),
      ...data.scores.map(({ name }) => new Option(`${name}, hardest first`, name)),
      new Option("example number", "id"),
    );
  }

  classOptions() {
    const counts = new Map(counted(this.examples.flatMap((one) => [one.given, one.suggested])));
    return this.data.run.classes
      .filter((name) => counts.has(name))
      .map((name) => [name, `${isolated(name)} (${counts.get(name)})`]);
  }

  /** Returns whether the filters let an example through. */
  passes(one, { name, pair, subset, seeds, state, kind }) {
    return (
      (!kind || one.isSuspect) &&
      (!name || one.given === name || one.suggested === name) &&
      (!pair || (one.isSuspect && one.pair === pair)) &&
      (!subset || one.subset === subset) &&
      (!seeds || one.agree >= Number(seeds)) &&
      STATES[state][1](this.decisions.of(one.id))
    );
  }

  /** Returns a comparison of two examples; those without a value come last. */
  comparison() {
    const order = $("by-order").value;
    const index = this.data.scores.findIndex(({ name }) => name === order);
    const ways = { suspicion: (one) => -one.suspicion, id: (one) => one.id };
    const way = ways[order] ?? ((one) => {
      const mean = this.data.scores[index].values[one.place][0];
      return mean === null ? null : mean * this.data.scores[index].hardFirst;
    });
    const sign = $("reverse").checked ? -1 : 1;
    return (one, other) => {
      const [left, right] = [way(one), way(other)];
      if (left === null || right === null) return (left === null) - (right === null);
      return sign * (left - right || one.place - other.place);
    };
  }

  /** Shows what the filters let through, in order; the current example stays if it may. */
  update() {
    const [name, pair, subset, seeds, state, , kind] = FILTERS.map((id) => $(id).value);
    this.shown = this.examples
      .filter((one) => this.passes(one, { name, pair, subset, seeds, state, kind }))
      .sort(this.comparison());
    $("grid").replaceChildren(...this.shown.map((one) => this.tiles.get(one.id)));
    const what = this.shown.length === 1 ? "image matches" : "images match";
    $("matches").textContent = `${this.shown.length.toLocaleString("en")} ${what}`;
    $("nothing").hidden = this.shown.length > 0;
    $("nothing-why").textContent = this.shown.length ? "" : this.whyNothing();
  }

  /** Returns why no image is shown: the filters that are set, or that all is done. */
  whyNothing() {
    const set = FILTERS.map((id) => $(id)).filter((one) => one.id !== "by-order" && one.selectedIndex);
    const isDone = $("by-state").value === "todo" && set.every(({ id }) => /state|kind/.test(id));
    if (isDone) return "Nothing is left to do here.";
    const named = set.map((one) => {
      const label = one.closest("label").firstChild.textContent;
      return `${label} – ${one.selectedOptions[0].textContent}`;
    });
    return `No image passes these filters together (${named.join("; ")}).`;
  }

  /** Marks the tile of the current example, and brings it into view. */
  point(one, { withFocus = false } = {}) {
    const before = $("grid").querySelector('[aria-current="true"]');
    before?.removeAttribute("aria-current");
    for (const tile of $("grid").querySelectorAll('[tabindex="0"]')) tile.tabIndex = -1;
    const tile = one && this.tiles.get(one.id).firstChild;
    if (!tile?.isConnected) return;
    tile.setAttribute("aria-current", "true");
    tile.tabIndex = 0;
    if (withFocus) tile.focus();
    else intoView($("grid"), tile);
  }

  /** Returns how many tiles stand in a row. */
  columns() {
    const tops = this.shown.slice(0, 100).map((one) => this.tiles.get(one.id).offsetTop);
    const count = tops.findIndex((top) => top !== tops[0]);
    return count < 0 ? Math.max(tops.length, 1) : count;
  }
}

/** Returns a decision in words. */
function inWords({ action, label }) {
  if (action === EARLIER) return "kept in an earlier review";
  return action === "relabel" ? `relabel to ${label}` : action;
}

/** Scrolls a box that scrolls by itself so that the inner element is seen; never the page. */
function intoView(box, inner) {
  const [outer, own] = [box.getBoundingClientRect(), inner.getBoundingClientRect()];
  if (box.scrollHeight <= box.clientHeight) return;
  if (own.top < outer.top) box.scrollTop -= outer.top - own.top + 8;
  else if (own.bottom > outer.bottom) box.scrollTop += own.bottom - outer.bottom + 8;
}
